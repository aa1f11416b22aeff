/* Check-in messages and the timeline. Same form as statements.h. */
#pragma once

#define CHECKIN_STATEMENTS(X)
