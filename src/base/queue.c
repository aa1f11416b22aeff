#include "base/queue.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>

struct pom_pool {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	GQueue items;
	unsigned queue_max, n_running, n_threads;
	bool closing;
	void (*run)(void *ctx, void *item);
	void *ctx;
	pthread_t *threads;
};

/* The next item; NULL when the pool closes and nothing is left. */
static void *take(struct pom_pool *pool)
{
	void *item;

	pthread_mutex_lock(&pool->lock);
	while (g_queue_is_empty(&pool->items) && !pool->closing)
		pthread_cond_wait(&pool->wake, &pool->lock);
	item = g_queue_pop_head(&pool->items);
	if (item)
		pool->n_running++;
	pthread_mutex_unlock(&pool->lock);
	return item;
}

static void *worker(void *data)
{
	struct pom_pool *pool = data;
	void *item;

	while ((item = take(pool))) {
		pool->run(pool->ctx, item);
		pthread_mutex_lock(&pool->lock);
		pool->n_running--;
		pthread_mutex_unlock(&pool->lock);
	}
	return NULL;
}

struct pom_pool *pom_pool_new(const char *name, unsigned n_threads, unsigned queue_max, void (*run)(void *ctx, void *item), void *ctx)
{
	struct pom_pool *pool = g_new0(struct pom_pool, 1);
	sigset_t all, old;

	g_assert(n_threads >= 1 && n_threads <= 1024);
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->wake, NULL);
	g_queue_init(&pool->items);
	pool->queue_max = queue_max;
	pool->run = run;
	pool->ctx = ctx;
	pool->n_threads = n_threads;
	pool->threads = g_new0(pthread_t, n_threads);
	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (unsigned i = 0; i < n_threads; i++) {
		if (pthread_create(&pool->threads[i], NULL, worker, pool))
			g_error("cannot start thread %s", name);
		pthread_setname_np(pool->threads[i], name);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return pool;
}

bool pom_pool_push(struct pom_pool *pool, void *item)
{
	bool taken;

	pthread_mutex_lock(&pool->lock);
	taken = !pool->closing && pool->items.length < pool->queue_max;
	if (taken) {
		g_queue_push_tail(&pool->items, item);
		pthread_cond_signal(&pool->wake);
	}
	pthread_mutex_unlock(&pool->lock);
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
	pthread_cond_broadcast(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->n_threads; i++)
		pthread_join(pool->threads[i], NULL);
	pthread_cond_destroy(&pool->wake);
	pthread_mutex_destroy(&pool->lock);
	g_queue_clear(&pool->items);
	g_free(pool->threads);
	g_free(pool);
}
