#include "base/queue.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>

struct worker {
	struct pom_pool *pool;
	pthread_t thread;
	pthread_cond_t wake;
	void *item;          /* given while it rests */
	struct worker *next; /* that rests */
};

/* The worker that has rested last works first: its stack and memory are still in the cache, and most of a large pool stays
 * asleep. It is given its item and woken alone, without a race for the queue. */
struct pom_pool {
	pthread_mutex_t lock;
	GQueue items;
	unsigned queue_max, n_running, n_threads;
	bool closing;
	void (*run)(void *ctx, void *item);
	void *ctx;
	struct worker *workers, *resting;
};

/* Rests until an item is given; NULL when the pool closes. Call with the lock held. */
static void *rest(struct worker *worker)
{
	struct pom_pool *pool = worker->pool;

	worker->item = NULL;
	worker->next = pool->resting;
	pool->resting = worker;
	while (!worker->item && !pool->closing)
		pthread_cond_wait(&worker->wake, &pool->lock);
	return worker->item;
}

/* The next item, which counts as running from when it is taken or given; NULL when the pool closes and nothing is left. */
static void *take(struct worker *worker, bool has_run)
{
	struct pom_pool *pool = worker->pool;
	void *item;

	pthread_mutex_lock(&pool->lock);
	pool->n_running -= has_run;
	item = g_queue_pop_head(&pool->items);
	if (item)
		pool->n_running++;
	else if (!pool->closing)
		item = rest(worker);
	pthread_mutex_unlock(&pool->lock);
	return item;
}

static void *worker_main(void *data)
{
	struct worker *worker = data;
	struct pom_pool *pool = worker->pool;
	void *item;

	for (bool has_run = false; (item = take(worker, has_run)); has_run = true)
		pool->run(pool->ctx, item);
	return NULL;
}

struct pom_pool *pom_pool_new(const char *name, unsigned n_threads, unsigned queue_max, void (*run)(void *ctx, void *item), void *ctx)
{
	struct pom_pool *pool = g_new0(struct pom_pool, 1);
	sigset_t all, old;

	g_assert(n_threads >= 1 && n_threads <= 1024);
	pthread_mutex_init(&pool->lock, NULL);
	g_queue_init(&pool->items);
	pool->queue_max = queue_max;
	pool->run = run;
	pool->ctx = ctx;
	pool->n_threads = n_threads;
	pool->workers = g_new0(struct worker, n_threads);
	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (unsigned i = 0; i < n_threads; i++) {
		struct worker *worker = &pool->workers[i];

		worker->pool = pool;
		pthread_cond_init(&worker->wake, NULL);
		if (pthread_create(&worker->thread, NULL, worker_main, worker))
			g_error("cannot start thread %s", name);
		pthread_setname_np(worker->thread, name);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return pool;
}

bool pom_pool_push(struct pom_pool *pool, void *item)
{
	struct worker *worker;
	bool taken;

	pthread_mutex_lock(&pool->lock);
	worker = pool->closing ? NULL : pool->resting;
	taken = worker || (!pool->closing && pool->items.length < pool->queue_max);
	if (worker) {
		pool->resting = worker->next;
		worker->item = item;
		pool->n_running++;
	} else if (taken) {
		g_queue_push_tail(&pool->items, item);
	}
	pthread_mutex_unlock(&pool->lock);
	/* After the lock, or it would wake up to wait for it. Workers live as long as the pool. */
	if (worker)
		pthread_cond_signal(&worker->wake);
	return taken;
}

unsigned pom_pool_pending(struct pom_pool *pool)
{
	unsigned n;

	pthread_mutex_lock(&pool->lock);
	n = pool->items.length + pool->n_running;
	pthread_mutex_unlock(&pool->lock);
	return n;
}

void pom_pool_free(struct pom_pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->closing = true;
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->n_threads; i++)
		pthread_cond_signal(&pool->workers[i].wake);
	for (unsigned i = 0; i < pool->n_threads; i++) {
		pthread_join(pool->workers[i].thread, NULL);
		pthread_cond_destroy(&pool->workers[i].wake);
	}
	pthread_mutex_destroy(&pool->lock);
	g_queue_clear(&pool->items);
	g_free(pool->workers);
	g_free(pool);
}
