/* Orders to many devices, queries, the end of enrollments, inventory. Same form as statements.h. */
#pragma once

#define FLEET_STATEMENTS(X)
