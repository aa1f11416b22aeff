/* Where a device stands on its way to being managed, and why it goes no further: the verdict over its timeline.
 *
 * A rule over plain facts: what has happened, what is known of the enrollment, and the time. What is refused with an id of the error table after the furthest step is why it stopped; without a
 * refusal the step itself says what usually stops devices there. */
#pragma once

#include "core/checkin.h"

/* One line of a timeline. */
struct timeline_step {
	const char *kind, *detail; /* detail may be NULL; a refusal's holds its id: "POM-E3103 …" */
	int64_t at_ms, last_ms;    /* last_ms 0: it happened once */
};

struct timeline_facts {
	int64_t now_ms;
	const struct timeline_step *steps; /* oldest first */
	size_t n_steps;
	/* the link, when there is one and no enrollment came of it */
	bool is_link;
	int64_t link_expires_ms, link_revoked_ms, link_created_ms;
	/* the enrollment */
	bool is_enrollment, is_user;
	enum enrollment_state state;
	bool has_token;                    /* a push token */
	int64_t push_dead_ms;              /* since when APNs says that it is no longer valid; 0: it does not */
	int64_t last_seen_ms, ended_ms;
	int64_t oldest_command_ms;         /* created; 0: none waits */
	int64_t identity_not_after_ms;     /* 0: not known */
	bool identity_revoked;
};

enum timeline_state {
	TIMELINE_OK,       /* it is managed and was heard lately */
	TIMELINE_RUNNING,  /* on its way: the next step may come by itself */
	TIMELINE_STOPPED,  /* somebody has to do something */
	TIMELINE_ENDED,    /* it is not managed any more, by its own or somebody's wish */
	TIMELINE_STATE_MAX,
};
/* "ok", "running", "stopped", "ended" */
const char *timeline_state_name(enum timeline_state state);

struct timeline_verdict {
	enum timeline_state state;
	const char *stage;     /* kind of the furthest step, static or of the facts; "" when nothing has happened */
	int64_t since_ms;      /* when that was, the last time; 0: nothing has happened */
	char error_id[12];     /* "POM-E3103"; "": no refusal */
	const char *where;     /* sentences for people, static */
	char *why;             /* owned */
	const char *todo;      /* static; "": nothing */
};
/* How long a device may take from one step to the next, and how long one that is managed may be silent. */
enum { TIMELINE_STEP_MS = 10 * 60 * 1000, TIMELINE_PUSH_MS = 60 * 60 * 1000, TIMELINE_SILENT_DAYS = 7 };

/* Pure. Clear with timeline_verdict_clear. */
void timeline_decide(const struct timeline_facts *facts, struct timeline_verdict *ret);
void timeline_verdict_clear(struct timeline_verdict *verdict);
