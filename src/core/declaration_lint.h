/* All that is wrong with declarations in a file, in the shape of the linter: rules "declaration-…" of catalog/lint-rules.tsv. Pure; what only a server knows is not looked at. */
#pragma once

#include "codec/lint.h"
#include "core/declaration.h"

enum { DECLARATION_LINT_MAX = 8 << 20 };

/* A file with one declaration, or an array of them → report on TARGET (its name), transfer full, never NULL. Paths begin with "[N]" in an array. What they name is looked at as far as the same file has it. */
struct lint_report *declaration_lint(const char *target, const void *data, size_t len);
/* FINDINGS of declaration_check in the same shape, without lines. PREFIX: before their paths. */
void declaration_lint_add(struct lint_report *report, const GPtrArray *findings, const char *prefix);
