/* The life of push certificates. Same form as statements.h. */
#pragma once

#define PUSHCERT_STATEMENTS(X)
