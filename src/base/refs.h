/* Counts of references. GLib has the same, but within its library, where a race detector does not see that the last holder comes after all others. */
#pragma once

#include <stdbool.h>

struct pom_refs { unsigned n; };

/* For the first holder. */
static inline void pom_refs_init(struct pom_refs *refs)
{
	refs->n = 1;
}

/* Whoever calls it holds a reference already. Any thread. */
static inline void pom_refs_take(struct pom_refs *refs)
{
	__atomic_fetch_add(&refs->n, 1, __ATOMIC_RELAXED);
}

/* True for the last holder, who sees all that the others did and frees the thing. Any thread. */
static inline bool pom_refs_drop(struct pom_refs *refs)
{
	return __atomic_sub_fetch(&refs->n, 1, __ATOMIC_ACQ_REL) == 0;
}
