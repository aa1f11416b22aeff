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
	int64_t stuck_ms;           /* since when what is in its line cannot go out; 0: it can. A steady clock. Only where pushes are claimed */
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
	bool stopping, resume, reload; /* atomic */
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
	unsigned store_failed; /* enum store_use: what of it has failed, and has not worked since */
	int64_t loose_ms;      /* when to look for pushes without a topic */
	int64_t load_ms, loaded_ms, count_ms, publish_ms, log_ms;
	unsigned n_logged, n_unlogged; /* lines about refused pushes since log_ms */

	/* Where several nodes share the outbox. */
	bool shared;
	int64_t claim_ms;
	bool (*may_work)(void *ctx); /* NULL: always */
	void *work_ctx;
	GArray *given_back;    /* struct push_hold, to be written */
	char *lost_claim;      /* id under which pushes may have been claimed: the database did not say; NULL: none */
	int64_t keep_ms, write_back_ms; /* when to look after claims, and to write what is given back again; a steady clock */

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

/* ---- claim.c: only where several nodes share the outbox ---- */

GArray *claims_new(void);
/* Like look in pusher.c: claims what is due, as far as there is room. WOKEN: something may just have become due. */
void claims_look(struct pusher *pusher, struct topic *topic, int64_t now_ms, bool woken);
bool claims_have_room(const struct pusher *pusher, const struct topic *topic);
/* Gives back what cannot be sent, and renews the claims of what is under way for long. Before each time that something is sent. */
void claims_keep(struct pusher *pusher, int64_t steady_ms);
/* PUSH is not sent: its claim is given back with the next claims_write. */
void claim_give_back(struct pusher *pusher, struct apns_push *push);
void claims_write(struct pusher *pusher, int64_t steady_ms);

/* ---- pusher.c ---- */
int64_t pusher_steady_ms(void);
/* Makes a push of ROW (or lets it go, when nobody wants it any more), that must be sent before SEND_UNTIL_MS (a steady clock; 0: it may be sent at any time). True when it became one. */
bool pusher_take_row(struct pusher *pusher, const struct push_row *row, bool urgent, int64_t send_until_ms);
/* How the store answered, ERROR NULL for well. WHAT went wrong is logged once until it goes well again. */
enum store_use { STORE_READ = 1, STORE_WRITE = 2 };
void pusher_note_store(struct pusher *pusher, enum store_use use, const char *what, const GError *error);
int64_t pusher_wall_ms(const struct pusher *pusher);
/* 0–999. */
unsigned pusher_jitter(struct pusher *pusher);
/* A UUID in lower case into RET. */
void pusher_uuid(struct pusher *pusher, char ret[APNS_ID_LEN + 1]);
/* OUTCOME's strings are taken over. */
void pusher_add_outcome(struct pusher *pusher, const struct push_outcome *outcome);
