/* The library of profiles as rules: what may be kept in it, what in a profile is a secret, and the life of a profile on a device. Pure.
 *
 * A profile that a device shall have is queued; the device fetches it (delivered), acknowledges it, and lists it (installed). One that it shall not have any more is being
 * removed, then removed. Every state that waits has a deadline; after it the profile has failed, with what was waited for. Nothing waits for ever. */
#pragma once

#include "codec/mobileconfig.h"
#include "core/command.h"

enum { LIBRARY_NAME_MAX = 64, LIBRARY_PROFILE_MAX = 4 << 20, LIBRARY_REASON_MAX = 1000 };

/* The name of a profile or group: letters, digits, '.', '-' and '_', not beginning with '.' or '-'. WHAT: "a profile". POM_ERR_BAD_REQUEST. */
bool library_name_check(const char *what, const char *name, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A name made of a PayloadIdentifier; transfer full. */
char *library_name_from(const char *identifier);

/* What Apple's form does not forbid but has no place in the library: an MDM payload, PayloadScope and TargetDeviceType of wrong form, a date of removal that is past at NOW_S (Unix seconds).
 * POM_ERR_LIBRARY_REFUSED with the key path. PROFILE has passed mobileconfig_check and is not encrypted. */
bool library_check(const plist *profile, int64_t now_s, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The path of the first secret (password, private key, shared secret, challenge …) in PROFILE, transfer full; NULL: none is known of. */
char *library_find_secret(const plist *profile);

/* AUTO: what needs it. */
enum library_choice { LIBRARY_AUTO, LIBRARY_ALWAYS, LIBRARY_NEVER, LIBRARY_CHOICE_MAX };
/* "auto", "always" ("on"), "never" ("off"); LIBRARY_CHOICE_MAX: none of them. */
enum library_choice library_choice_find(const char *text);
const char *library_choice_name(enum library_choice choice);

enum library_state {
	LIBRARY_NONE,         /* nothing was ever sent */
	LIBRARY_QUEUED,
	LIBRARY_DELIVERED,    /* the device has it and has not answered */
	LIBRARY_ACKNOWLEDGED, /* to be confirmed by ProfileList */
	LIBRARY_INSTALLED,
	LIBRARY_FAILED,
	LIBRARY_REMOVING,
	LIBRARY_REMOVAL_DELIVERED,
	LIBRARY_REMOVED,
	LIBRARY_REMOVAL_FAILED,
	LIBRARY_ENDED,        /* the device is not managed any more */
	LIBRARY_STATE_MAX,
};
/* As it is stored. */
const char *library_state_name(enum library_state state);
enum library_state library_state_find(const char *name); /* LIBRARY_NONE for NULL and what is unknown */
/* As people see it: both ways to fail are "failed", both ways to be removed "removing". */
const char *library_state_shown(enum library_state state);
/* Whether it waits for the device: such a state has a deadline. */
bool library_state_waits(enum library_state state);
/* Whether it is about removal. */
bool library_state_removes(enum library_state state);

enum library_event {
	LIBRARY_WANT,         /* assigned; content is that which was sent last */
	LIBRARY_WANT_NEWER,   /* assigned; there is a newer version */
	LIBRARY_RESEND,       /* assigned, and a person wants it sent again */
	LIBRARY_UNWANT,       /* not assigned */
	LIBRARY_REMOVE_AGAIN, /* not assigned, and a person wants the removal sent again */
	LIBRARY_FETCHED,      /* the device got the command */
	LIBRARY_UNMADE,       /* the command's content cannot be made */
	LIBRARY_ACK,
	LIBRARY_ERROR,
	LIBRARY_NOT_THERE,    /* the device refused a removal because there is no such profile */
	LIBRARY_NOT_NOW,
	LIBRARY_LISTED,
	LIBRARY_UNLISTED,
	LIBRARY_TIME,         /* the deadline is past */
	LIBRARY_CANCELED,     /* a person took the command back */
	LIBRARY_EVENT_MAX,
};

struct library_limits { int64_t deliver_ms, answer_ms; };

/* A profile on a device. */
struct library_row {
	enum library_state state;
	bool present;        /* this or an earlier version may be on the device */
	int64_t queued_ms;   /* when the present command was queued */
	int64_t deadline_ms; /* 0: none */
};

struct library_plan {
	struct library_row next;
	char *reason;        /* why it failed; NULL: it has not. Free with library_plan_clear */
	bool changed;        /* NEXT differs from what was */
	bool cancel;         /* the present command is to be taken back */
	bool install, remove; /* such a command is to be queued */
	bool list;           /* and a ProfileList, unless one waits */
};
void library_plan_clear(struct library_plan *plan);

/* The rule. REASON: of LIBRARY_UNMADE and LIBRARY_ERROR, in plain words. What has no meaning in a state changes nothing. */
void library_decide(const struct library_row *row, enum library_event event, const char *reason, const struct library_limits *limits, int64_t now_ms, struct library_plan *ret);

/* What a device says went wrong, in plain words: its own text, the code, and our explanation of the innermost error that we know. CHAIN may be NULL. transfer full, at most LIBRARY_REASON_MAX bytes. */
char *library_reason(const plist *chain, enum report_status status);
/* Whether CHAIN says that the profile to be removed is not there. */
bool library_is_not_there(const plist *chain);
/* Whether REPORT's ProfileList has a profile with this identifier and UUID. */
bool library_is_listed(const plist *report, const char *identifier, const char *uuid);
