/* A bounded queue between threads and a pool of workers over it, on pthread. */
#pragma once

#include <glib.h>
#include <stdbool.h>

struct pom_pool;

/* Starts N_THREADS workers (1–1024) named NAME ("worker"); each takes items in order and calls RUN(ctx, item). At most
 * QUEUE_MAX items wait. transfer full; pom_pool_free. */
struct pom_pool *pom_pool_new(const char *name, unsigned n_threads, unsigned queue_max, void (*run)(void *ctx, void *item), void *ctx);

/* Hands ITEM to the pool without blocking; false when the queue is full or the pool is closing (the caller keeps ITEM). */
bool pom_pool_push(struct pom_pool *pool, void *item);

/* Items that wait or run now. */
unsigned pom_pool_pending(struct pom_pool *pool);

/* Takes no more items, lets the workers finish all that was taken, joins them, frees. NULL is fine. Blocks. */
void pom_pool_free(struct pom_pool *pool);
typedef struct pom_pool pom_pool_auto;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(pom_pool_auto, pom_pool_free)
