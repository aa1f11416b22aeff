/* What devices tell of themselves when they are asked: the answers to DeviceInformation and SecurityInfo, as facts with a name and a value in JSON. Pure. */
#pragma once

#include "codec/json.h"

/* What does not keep to these is left out: a device that tells nonsense must not fill the disk. PER_DEVICE is kept by the store, the oldest go. */
enum { FACT_NAME_MAX = 128, FACT_VALUE_MAX = 4096, FACTS_PER_REPORT = 250, FACTS_PER_DEVICE = 500 };

struct fact {
	char *name;  /* "IsSupervised"; of SecurityInfo "SecurityInfo.PasscodePresent" */
	char *value; /* JSON */
};

/* The facts in REPORT, the whole plist of an Acknowledged report; an empty array for any other command's. Array of struct fact, transfer full. Escrowed secrets are left out. */
GArray *facts_read(const plist *report);
