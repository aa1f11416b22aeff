/* Declarative management. Same form as statements.h. */
#pragma once

#define DDM_STATEMENTS(X)
