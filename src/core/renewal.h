/* Commands of the server itself: new identities and new roots for enrolled devices, and profiles of the library. Such a command is queued with a note and without content; its content is made when the
 * device fetches it, so that no secret waits in the queue and a challenge begins to live when it is given. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define NOTE_RENEWAL "renewal"
#define NOTE_ANCHOR "anchor:" /* and the newest generation whose root is in it */

#define NOTE_INSTALL "install:" /* and the name of a profile in the library */
#define NOTE_REMOVE "remove:"
#define NOTE_PROFILES "profiles" /* which profiles has it? */
#define NOTE_UNLOCK "unlock" /* a person's ClearPasscode that gets the unlock token which the device gave us */
#define NOTE_DECLARATIONS "declarations" /* what it shall have by declarative management has changed */

#define NOTE_ORDER "order:"      /* and the id of an order to many devices */
#define NOTE_INVENTORY "inventory"
#define NOTE_UNENROLL "unenroll" /* it removes the profile that the device is managed by */

enum { RENEWAL_RETRY_MS = 24 * 3600 * 1000, RENEWAL_CHALLENGE_TTL_MS = 24 * 3600 * 1000, RENEWAL_AT_ONCE = 200 };

/* "anchor:3" → 3; 0: another note, or none. */
int64_t note_anchor(const char *note);
char *note_anchor_new(int64_t number);
/* The profile that a note is about, borrowed from it, and whether it goes; NULL: another note, or none. */
const char *note_profile(const char *note, bool *ret_removes);
/* Whether it is a person's command that only gets what the server holds. */
bool note_is_fill(const char *note);
/* The order that a note is of, borrowed from it; NULL: another note, or none. */
const char *note_order(const char *note);
/* Whether the command was queued with its whole content. */
bool note_is_ready(const char *note);
/* Whether the library queued it. */
bool note_is_library(const char *note);
/* Whether it tells of declarations. */
bool note_is_declarations(const char *note);
