#include "db/test_proxy.h"

#include <glib/gstdio.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PAIRS = 32, LOOK_MS = 10 };

struct pair { int client, server; bool has_asked; };

struct test_proxy {
	char *dir, *url;
	struct sockaddr_un from, to;
	int listener;
	pthread_t thread;
	enum test_cut cut; /* atomic */
	bool ending;       /* atomic */
	struct pair pairs[PAIRS];
	unsigned n_pairs;
};

static enum test_cut get_cut(struct test_proxy *proxy)
{
	return __atomic_load_n(&proxy->cut, __ATOMIC_SEQ_CST);
}

void test_proxy_set(struct test_proxy *proxy, enum test_cut cut)
{
	__atomic_store_n(&proxy->cut, cut, __ATOMIC_SEQ_CST);
}

static void close_pair(struct pair *pair)
{
	close(pair->client);
	close(pair->server);
	pair->client = pair->server = -1;
}

static void accept_pair(struct test_proxy *proxy)
{
	struct pair *pair = &proxy->pairs[proxy->n_pairs++];

	*pair = (struct pair){accept(proxy->listener, NULL, NULL), socket(AF_UNIX, SOCK_STREAM, 0), false};
	if (get_cut(proxy) == TEST_REFUSE || connect(pair->server, (struct sockaddr *)&proxy->to, sizeof(proxy->to)))
		close_pair(pair);
}

/* What has come on one side; false: the pair is closed. */
static bool pass(struct test_proxy *proxy, struct pair *pair, bool from_client)
{
	char buffer[65536];
	ssize_t n = read(from_client ? pair->client : pair->server, buffer, sizeof(buffer));
	enum test_cut cut = get_cut(proxy);
	bool cuts_answer = cut == TEST_CUT_ANSWER || cut == TEST_CUT_ANSWER_AND_REFUSE;

	pair->has_asked |= from_client && cuts_answer;
	if (n <= 0 || cut == TEST_REFUSE)
		return false;
	if (from_client ? cut == TEST_CUT_REQUEST : cuts_answer && pair->has_asked) {
		test_proxy_set(proxy, cut == TEST_CUT_ANSWER_AND_REFUSE ? TEST_REFUSE : TEST_PASS);
		return false;
	}
	for (ssize_t done = 0, more; done < n; done += more)
		if ((more = send(from_client ? pair->server : pair->client, buffer + done, (size_t)(n - done), MSG_NOSIGNAL)) <= 0)
			return false;
	return true;
}

static void drop_closed(struct test_proxy *proxy)
{
	for (unsigned i = 0; i < proxy->n_pairs;)
		if (proxy->pairs[i].client < 0)
			proxy->pairs[i] = proxy->pairs[--proxy->n_pairs];
		else
			i++;
}

/* Waits a moment for something to come, and deals with it. */
static void look(struct test_proxy *proxy)
{
	struct pollfd fds[1 + 2 * PAIRS] = {{.fd = proxy->listener, .events = POLLIN}};
	unsigned n = proxy->n_pairs;

	for (unsigned i = 0; i < n; i++) {
		fds[1 + 2 * i] = (struct pollfd){.fd = proxy->pairs[i].client, .events = POLLIN};
		fds[2 + 2 * i] = (struct pollfd){.fd = proxy->pairs[i].server, .events = POLLIN};
	}
	poll(fds, 1 + 2 * n, LOOK_MS);
	for (unsigned i = 0; i < 2 * n; i++)
		if (fds[1 + i].revents && proxy->pairs[i / 2].client >= 0 && !pass(proxy, &proxy->pairs[i / 2], i % 2 == 0))
			close_pair(&proxy->pairs[i / 2]);
	if (fds[0].revents && proxy->n_pairs < PAIRS)
		accept_pair(proxy);
}

static void *proxy_main(void *data)
{
	struct test_proxy *proxy = data;

	while (!__atomic_load_n(&proxy->ending, __ATOMIC_SEQ_CST)) {
		enum test_cut cut = get_cut(proxy);

		for (unsigned i = 0; i < proxy->n_pairs && cut == TEST_REFUSE; i++)
			close_pair(&proxy->pairs[i]);
		drop_closed(proxy);
		if (cut == TEST_FREEZE)
			g_usleep(LOOK_MS * 1000);
		else
			look(proxy);
	}
	for (unsigned i = 0; i < proxy->n_pairs; i++)
		close_pair(&proxy->pairs[i]);
	return NULL;
}

/* The value of "host" in the URL: the folder of the cluster's socket. transfer full. */
static char *cluster_dir(const char *url)
{
	g_autoptr(GRegex) regex = g_regex_new("[?&]host=([^&]*)", 0, 0, NULL);
	g_autoptr(GMatchInfo) match = NULL;

	g_assert_true(g_regex_match(regex, url, 0, &match));
	return g_match_info_fetch(match, 1);
}

struct test_proxy *test_proxy_new(const char *url)
{
	struct test_proxy *proxy = g_new0(struct test_proxy, 1);
	g_autofree char *dir = cluster_dir(url);
	g_autoptr(GString) through = g_string_new(url);

	proxy->dir = g_dir_make_tmp("pomona-proxy-XXXXXX", NULL);
	proxy->from.sun_family = proxy->to.sun_family = AF_UNIX;
	g_snprintf(proxy->from.sun_path, sizeof(proxy->from.sun_path), "%s/.s.PGSQL.5432", proxy->dir);
	g_snprintf(proxy->to.sun_path, sizeof(proxy->to.sun_path), "%s/.s.PGSQL.5432", dir);
	g_string_replace(through, dir, proxy->dir, 1);
	proxy->url = g_strdup(through->str);
	proxy->listener = socket(AF_UNIX, SOCK_STREAM, 0);
	g_assert_cmpint(bind(proxy->listener, (struct sockaddr *)&proxy->from, sizeof(proxy->from)), ==, 0);
	g_assert_cmpint(listen(proxy->listener, 64), ==, 0);
	g_assert_cmpint(pthread_create(&proxy->thread, NULL, proxy_main, proxy), ==, 0);
	return proxy;
}

void test_proxy_free(struct test_proxy *proxy)
{
	__atomic_store_n(&proxy->ending, true, __ATOMIC_SEQ_CST);
	pthread_join(proxy->thread, NULL);
	close(proxy->listener);
	g_unlink(proxy->from.sun_path);
	g_rmdir(proxy->dir);
	g_free(proxy->dir);
	g_free(proxy->url);
	g_free(proxy);
}

const char *test_proxy_url(const struct test_proxy *proxy)
{
	return proxy->url;
}
