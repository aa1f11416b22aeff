/* Commands of the server itself: new identities and new roots for enrolled devices. Such a command is queued with a note and without content; its content is made when the
 * device fetches it, so that no secret waits in the queue and a challenge begins to live when it is given. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define NOTE_RENEWAL "renewal"
#define NOTE_ANCHOR "anchor:" /* and the newest generation whose root is in it */

enum { RENEWAL_RETRY_MS = 24 * 3600 * 1000, RENEWAL_CHALLENGE_TTL_MS = 24 * 3600 * 1000, RENEWAL_AT_ONCE = 200 };

/* "anchor:3" → 3; 0: another note, or none. */
int64_t note_anchor(const char *note);
char *note_anchor_new(int64_t number);
