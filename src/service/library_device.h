/* Profiles of the library on devices: events, content, work. Between library.c, renewal.c, mdm.c and admin.c. */
#pragma once

#include "core/fact.h"
#include "service/library.h"
#include "store/library_store.h"

/* What has happened to a profile on a device. */
struct library_happening {
	const char *enrollment_id, *profile;
	enum library_event event;
	const char *command_uuid; /* only while this is its command; NULL: whichever */
	const char *reason;       /* of LIBRARY_ERROR and LIBRARY_UNMADE */
	int64_t number;           /* of LIBRARY_FETCHED and LIBRARY_UNMADE: the version; 0: as it was */
	const char *uuid;         /* of LIBRARY_FETCHED: PayloadUUID */
};
/* Loads, decides, applies; *RET_CHANGED (may be NULL). */
bool service_library_happen(struct service *service, const struct library_happening *h, bool *ret_changed, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Brings a profile on a device to what its assignments say; RESEND: once more. */
bool service_library_reconcile(struct service *service, const char *enrollment_id, const char *profile, bool resend, bool *ret_changed, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* The same for all profiles that concern a device. */
bool service_library_reconcile_device(struct service *service, const char *enrollment_id, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The content of a command that the library has queued, made now; records that the device has it. transfer full. */
GBytes *service_library_command(struct service *service, const char *enrollment_id, const struct command_next *next, GError **error);
/* The newest version of PROFILE as a device gets it, transfer full; without ENCRYPTED in clear, for a device that will have lost its identity when it reads it. */
GBytes *service_library_payload(struct service *service, const char *enrollment_id, const char *profile, bool encrypted, GError **error);
/* It could not be made: the profile has failed. */
bool service_library_unmade(struct service *service, const char *enrollment_id, const struct command_next *next, const char *reason, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* What a device says of such a command. */
bool service_library_report(struct service *service, const struct command_row *command, const struct report *report, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* What an Acknowledged report of whatever command tells: facts, to be kept with it in *RET, and which profiles are there. KNOWN as of service_fleet_learn. */
bool service_library_learn(struct service *service, const struct command_row *command, const plist *report, const GArray *known, struct fact_write *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Values of variables for a device. */
struct library_values;
struct library_values *library_values_load(struct service *service, const char *enrollment_id, GError **error) G_GNUC_WARN_UNUSED_RESULT;
const char *library_values_get(void *values, const char *name); /* a variable_fn */
void library_values_free(struct library_values *values);
typedef struct library_values library_values;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(library_values, library_values_free)
/* Attributes: name → value, both owned; transfer full. */
GHashTable *service_attributes_load(struct service *service, const char *enrollment_id, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A version of a profile, opened: what it says (decrypted, when it was encrypted) and its bytes. */
struct library_opened { struct library_version_row row; store_load *load; GBytes *body; plist *tree; };
bool library_open(struct service *service, const char *profile, int64_t number, struct library_opened *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void library_opened_clear(struct library_opened *opened);
/* "profile_version/<this>/…" */
char *library_seal_row(const char *profile, int64_t number);
