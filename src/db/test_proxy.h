/* A proxy before the tests' PostgreSQL, which stands for the network and for servers that do not behave. One thread of its own; aborts when it cannot work. */
#pragma once

#include "db/testkit.h"

enum test_cut {
	TEST_PASS,
	TEST_CUT_ANSWER,  /* once: what the server answers to the next message is lost, with the connection */
	TEST_CUT_ANSWER_AND_REFUSE, /* the same, and then TEST_REFUSE */
	TEST_CUT_REQUEST, /* once: the next message is lost, with the connection */
	TEST_REFUSE,      /* nothing gets through, and nobody can connect */
	TEST_FREEZE,      /* as if all processes of the server were stopped: connections can be made and nothing comes; with TEST_PASS all that was sent meanwhile arrives */
};

struct test_proxy;

/* A proxy before the database at URL (of test_database_new). */
struct test_proxy *test_proxy_new(const char *url);
/* Ends all connections. */
void test_proxy_free(struct test_proxy *proxy);
/* The database's URL through the proxy; borrowed. */
const char *test_proxy_url(const struct test_proxy *proxy);
/* Any thread. */
void test_proxy_set(struct test_proxy *proxy, enum test_cut cut);
