/* Names of servers, with a limit of time that getaddrinfo does not have. */
#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <string.h>

#include "base/error.h"
#include "probe/probe.h"

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

static GPtrArray *wait_for(struct lookup *lookup, unsigned timeout_ms, GError **error)
{
	GPtrArray *addresses = NULL;
	struct timespec until;
	bool in_time = true;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&lookup->lock);
	while (!lookup->is_done && in_time)
		in_time = !pthread_cond_timedwait(&lookup->done_cond, &lookup->lock, &until);
	if (!lookup->is_done)
		pom_fail(error, POM_ERR_UNREACHABLE, "the resolver does not answer for %s", lookup->name);
	else if (lookup->code || !lookup->addresses->len)
		pom_fail(error, POM_ERR_UNREACHABLE, "the name %s has no address (%s)", lookup->name, lookup->code ? gai_strerror(lookup->code) : "an empty answer");
	else
		addresses = g_ptr_array_ref(lookup->addresses);
	pthread_mutex_unlock(&lookup->lock);
	return addresses;
}

GPtrArray *probe_resolve(const char *name, unsigned timeout_ms, GError **error)
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
	addresses = wait_for(lookup, timeout_ms, error);
	drop(lookup);
	return addresses;
}
