/* What nodes learn from each other. Same form as statements.h. */
#pragma once

#define SHARED_STATEMENTS(X)
