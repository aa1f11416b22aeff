/* The queue and what is asked about commands. Same form as statements.h. */
#pragma once

#define COMMAND_STATEMENTS(X)
