/* What devices tell of themselves when they are asked. The answers to DeviceInformation and SecurityInfo are facts with a name and a value in JSON; those that list something (apps, profiles, certificates,
 * updates, users …) are lists. Pure. */
#pragma once

#include "codec/json.h"
#include "codec/plist.h"

/* What does not keep to these is left out: a device that tells nonsense must not fill the disk. PER_DEVICE is kept by the store, the oldest go. */
enum { FACT_NAME_MAX = 128, FACT_VALUE_MAX = 4096, FACTS_PER_REPORT = 250, FACTS_PER_DEVICE = 500 };

struct fact {
	char *name;  /* "IsSupervised"; of SecurityInfo "SecurityInfo.PasscodePresent" */
	char *value; /* JSON */
};

/* The facts in REPORT, the whole plist of an Acknowledged report of a command of REQUEST_TYPE; an empty array for those that tell none. Array of struct fact, transfer full. What the catalog of commands
 * calls a secret is left out. */
GArray *facts_read(const char *request_type, const plist *report);

/* At most so many entries and bytes of a list are kept; how many were left out is told. */
enum { FACT_LIST_ITEMS_MAX = 2000, FACT_LIST_BYTES_MAX = 256 << 10 };
struct fact_list {
	const char *name; /* static: Apple's key in the answer, "InstalledApplicationList" */
	char *value;      /* JSON, an array or an object */
	unsigned n_items, n_cut;
};
/* Whether answers to REQUEST_TYPE hold lists. */
bool fact_lists_are_in(const char *request_type);
/* The lists in REPORT. Of a COMMAND (its inner dictionary; may be NULL: not known) that asked for a part only, the answer is not the device's list: then an empty array, as for other commands. Array of
 * struct fact_list, transfer full. Certificates are told by what stands in them: "subject", "issuer", "serial", "not_before", "not_after", "sha256" instead of Data. */
GArray *fact_lists_read(const char *request_type, const plist *command, const plist *report);
/* The list that is called NAME, Apple's key or a plain word ("apps", "profiles", "updates" …), in whatever case; NULL: none. Static. */
const char *fact_list_find(const char *name);
