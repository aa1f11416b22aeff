/* Nodes, leases of work. Same form as statements.h. */
#pragma once

#define NODE_STATEMENTS(X)
