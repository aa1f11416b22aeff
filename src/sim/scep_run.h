/* What "pomona sim scep" and its matrix share. */
#pragma once

#include "sim/scep_client.h"
#include "sim/sim.h"

enum { SIM_SCEP_POLL_MS = 100 };

/* The options, read and checked. */
struct scep_parsed {
	enum sim_scep_method method;
	struct sim_scep_choice choice;  /* without challenge and signer */
	GBytes *fingerprint;            /* NULL: none */
	char *roots;                    /* PEM; NULL: none */
	const char *key_type;
};
/* *RET is to be cleared in any case. POM_ERR_USAGE, POM_ERR_IO. */
bool scep_options_parse(const struct sim_scep_options *options, struct scep_parsed *ret, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void scep_parsed_clear(struct scep_parsed *parsed);
typedef struct scep_parsed scep_parsed;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(scep_parsed, scep_parsed_clear)

/* The text of FILE ("-": standard input), at most 1 MiB; transfer full, to be wiped. POM_ERR_IO. */
char *scep_read_challenges(const char *file, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Wipes and frees; TEXT may be NULL. */
void scep_wipe(char *text);

/* A new key of TYPE ("rsa2048", "p256", …), transfer full; NULL with POM_ERR_USAGE. */
EVP_PKEY *scep_key_new(const char *type, GError **error) G_GNUC_WARN_UNUSED_RESULT;
