/* What the files of the push thread share. All of it is the thread's own, but for what pusher_status reads. */
#pragma once

#include <pthread.h>

#include "core/push.h"
#include "push/apns.h"
#include "push/push.h"

enum { TOPICS_MAX = 64, TOPIC_PROBE = 10 };

/* What went wrong last, for people. */
struct push_trouble { const char *id; char *reason, *text; int64_t at_ms; };

struct topic {
	struct pusher *pusher;
	char *name;
	struct apns *apns;          /* NULL: its certificate cannot be used */
	int64_t version, not_after_ms;
	bool seen;                  /* in the list that is being read */
	bool stopped;               /* an alarm was given, and nothing has gone out since */
	bool expired;
	int64_t n_pauses;           /* since the last push that went out */
	unsigned n_busy, n_foreign; /* in a row: answers that APNs cannot; tokens that are not of this topic */
	struct push_trouble trouble;
	/* Its part of the outbox. */
	int64_t look_ms;            /* Unix time of the next look */
	struct push_place place;    /* how far a long list has been read */
	bool more;                  /* … and that there is more */
};

struct pusher {
	struct store *store;
	const struct seal *seal;
	const struct pom_clock *clock;
	const struct pom_random *random;
	struct dial_config dial;
	char *root_file, *peer, *proxy;
	int64_t expiration_s;
	unsigned connections_max;

	int wake_fd;
	bool stopping, resume; /* atomic */
	unsigned grace_ms;
	pthread_t thread;

	pthread_mutex_t lock;
	GArray *published;     /* struct push_status, under the lock */

	struct topic *topics[TOPICS_MAX];
	unsigned n_topics;
	struct push_pace pace;
	GHashTable *underway;  /* enrollment id → struct apns_push: taken and not yet answered */
	GArray *outcomes;      /* struct push_outcome, to be written */
	int64_t written_ms;    /* when writing failed last; 0: it did not */
	int64_t loose_ms;      /* when to look for pushes without a topic */
	int64_t load_ms, count_ms, publish_ms, log_ms;
	unsigned n_logged, n_unlogged; /* lines about refused pushes since log_ms */
	uint8_t noise[1024];
	size_t noise_left;
};

/* ---- topic.c ---- */

/* Reads the push certificates: new and renewed ones take effect, those that went away end. */
void topics_load(struct pusher *pusher);
/* Stops those whose certificate has expired. */
void topics_check_expiry(struct pusher *pusher);
void topics_free(struct pusher *pusher);
struct topic *topic_find(const struct pusher *pusher, const char *name);
/* What was answered by APNs, or given back; takes the push over. An outcome is added. */
void topic_take_answer(void *ctx, struct apns *apns, struct apns_push *push);
/* The states of all topics into what pusher_status gives, and into metrics. */
void topics_publish(struct pusher *pusher);

/* ---- pusher.c ---- */
int64_t pusher_wall_ms(const struct pusher *pusher);
/* 0–999. */
unsigned pusher_jitter(struct pusher *pusher);
/* A UUID in lower case into RET. */
void pusher_uuid(struct pusher *pusher, char ret[APNS_ID_LEN + 1]);
/* OUTCOME's strings are taken over. */
void pusher_add_outcome(struct pusher *pusher, const struct push_outcome *outcome);
