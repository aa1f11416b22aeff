/* Help and man pages from the table of verbs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "cli/cli.h"

size_t cli_all_options(const struct cli_verb *verb, struct cli_option out[CLI_OPTIONS_MAX]);
void man_print_help(const struct cli_verb *verb);
/* Whether VERB begins with the first word of FAMILY: "device list" is of "device", "device-ca list" is not. */
bool man_is_of_family(const struct cli_verb *verb, const char *family);
/* All verbs, families together, or those of one family; NULL: all. */
void man_print_verbs(const char *family);
/* Writes pomona.1 and pomona-WORDS.1 into DIR; returns an exit code. */
int man_write_pages(const char *dir);
