/* Names of servers, with a limit of time that getaddrinfo does not have. */
#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <string.h>

#include "base/error.h"
#include "probe/probe.h"

enum { SLICE_US = 200000 };

/* Shared with a thread that may come back long after nobody waits any more. */
struct lookup {
	pthread_mutex_t lock;
	pthread_cond_t done_cond;
	char *name;
	unsigned n_users;
	bool is_done;
	int code;
	GPtrArray *addresses;
};

static void drop(struct lookup *lookup)
{
	bool is_last;

	pthread_mutex_lock(&lookup->lock);
	is_last = --lookup->n_users == 0;
	pthread_mutex_unlock(&lookup->lock);
	if (!is_last)
		return;
	pthread_mutex_destroy(&lookup->lock);
	pthread_cond_destroy(&lookup->done_cond);
	g_free(lookup->name);
	g_ptr_array_unref(lookup->addresses);
	g_free(lookup);
}

static void add_all(GPtrArray *addresses, const struct addrinfo *list)
{
	char text[NI_MAXHOST];

	for (; list && addresses->len < PROBE_ADDRESSES_MAX; list = list->ai_next)
		if (!getnameinfo(list->ai_addr, list->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST) &&
		    !g_ptr_array_find_with_equal_func(addresses, text, g_str_equal, NULL))
			g_ptr_array_add(addresses, g_strdup(text));
}

static void *run(void *data)
{
	struct lookup *lookup = data;
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;
	int code = getaddrinfo(lookup->name, NULL, &hints, &list);

	pthread_mutex_lock(&lookup->lock);
	lookup->code = code;
	if (!code)
		add_all(lookup->addresses, list);
	lookup->is_done = true;
	pthread_cond_signal(&lookup->done_cond);
	pthread_mutex_unlock(&lookup->lock);
	if (list)
		freeaddrinfo(list);
	drop(lookup);
	return NULL;
}

static struct lookup *start(const char *name)
{
	struct lookup *lookup = g_new0(struct lookup, 1);
	pthread_condattr_t attr;
	pthread_attr_t detached;
	pthread_t thread;

	*lookup = (struct lookup){.name = g_strdup(name), .n_users = 2, .addresses = g_ptr_array_new_with_free_func(g_free)};
	pthread_mutex_init(&lookup->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&lookup->done_cond, &attr);
	pthread_condattr_destroy(&attr);
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &detached, run, lookup)) {
		lookup->is_done = true;
		lookup->code = EAI_AGAIN;
		lookup->n_users = 1;
	}
	pthread_attr_destroy(&detached);
	return lookup;
}

/* In slices, to see whether it is time to end. */
static void wait_a_while(struct lookup *lookup, int64_t end_us)
{
	int64_t until_us = MIN(end_us, g_get_monotonic_time() + SLICE_US);
	struct timespec until = {.tv_sec = until_us / G_USEC_PER_SEC, .tv_nsec = until_us % G_USEC_PER_SEC * 1000};

	pthread_cond_timedwait(&lookup->done_cond, &lookup->lock, &until);
}

static GPtrArray *wait_for(struct lookup *lookup, unsigned timeout_ms, const int *stop, GError **error)
{
	int64_t end_us = g_get_monotonic_time() + (int64_t)timeout_ms * 1000;
	GPtrArray *addresses = NULL;

	pthread_mutex_lock(&lookup->lock);
	while (!lookup->is_done && g_get_monotonic_time() < end_us && !(stop && __atomic_load_n(stop, __ATOMIC_SEQ_CST)))
		wait_a_while(lookup, end_us);
	if (!lookup->is_done)
		pom_fail(error, POM_ERR_UNREACHABLE, "the resolver does not answer for %s", lookup->name);
	else if (lookup->code || !lookup->addresses->len)
		pom_fail(error, POM_ERR_UNREACHABLE, "the name %s has no address (%s)", lookup->name, lookup->code ? gai_strerror(lookup->code) : "an empty answer");
	else
		addresses = g_ptr_array_ref(lookup->addresses);
	pthread_mutex_unlock(&lookup->lock);
	return addresses;
}

GPtrArray *probe_resolve(const char *name, unsigned timeout_ms, const int *stop, GError **error)
{
	struct lookup *lookup;
	struct in6_addr address;
	GPtrArray *addresses;

	if (inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1) {
		addresses = g_ptr_array_new_with_free_func(g_free);
		g_ptr_array_add(addresses, g_strdup(name));
		return addresses;
	}
	lookup = start(name);
	addresses = wait_for(lookup, timeout_ms, stop, error);
	drop(lookup);
	return addresses;
}
