/* The outbox of pushes. Same form as statements.h. */
#pragma once

#define PUSH_STATEMENTS(X)
