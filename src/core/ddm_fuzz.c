/* Declarations of administrators, endpoints and status reports of devices: what is made of them keeps its maxima and can be written again. */
#include <string.h>

#include "core/ddm.h"
#include "core/declaration_lint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_declaration(const uint8_t *data, size_t size)
{
	g_auto(declaration_auto) d = {0}, again = {0};
	g_autoptr(GPtrArray) findings = NULL, refs = NULL;
	g_autofree char *token = NULL, *same = NULL;
	g_autoptr(GBytes) text = NULL;

	if (!declaration_parse(data, size, &d, NULL))
		return;
	g_assert(strlen(d.identifier) <= DECLARATION_ID_MAX && d.kind < DECLARATION_KINDS);
	findings = declaration_check(&d);
	g_assert(findings->len <= DECLARATION_FINDINGS_MAX);
	refs = declaration_references(&d);
	token = declaration_token(&d);
	text = declaration_format(d.type, d.identifier, token, d.payload);
	if (g_bytes_get_size(text) > DECLARATION_SIZE_MAX)
		return;
	g_assert(declaration_parse(g_bytes_get_data(text, NULL), g_bytes_get_size(text), &again, NULL));
	same = declaration_token(&again);
	g_assert(!strcmp(token, same));
}

/* A file is linted whatever it is; what is none of ours has an error, and every line is one of the file. */
static void check_lint(const uint8_t *data, size_t size)
{
	g_autoptr(lint_report) report = declaration_lint("x", data, size);
	g_auto(declaration_auto) d = {0};
	int n_lines = 1;

	for (size_t i = 0; i < size; i++)
		n_lines += data[i] == '\n';
	for (guint i = 0; i < report->found->findings->len; i++)
		g_assert(((const struct finding *)report->found->findings->pdata[i])->line <= n_lines);
	g_assert(report->found->n[FINDING_ERROR] || lint_is_json(data, size));
	g_assert(report->found->n[FINDING_ERROR] || *(const char *)data != '{' || declaration_parse(data, size, &d, NULL));
}

static void check_texts(const char *text)
{
	g_auto(ddm_endpoint_auto) endpoint = {0};
	g_autofree char *why = NULL;

	if (ddm_endpoint_parse(text, &endpoint, NULL) && endpoint.type == DDM_DECLARATION)
		g_assert(*endpoint.identifier && (!endpoint.decoded || declaration_identifier_check(endpoint.decoded, NULL)));
	if (!declaration_predicate_check(text, &why))
		g_assert(why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *text = g_strndup((const char *)data, size);
	g_autoptr(ddm_report) report = ddm_report_parse(data, size, NULL);

	check_declaration(data, size);
	check_lint(data, size);
	check_texts(text);
	for (guint i = 0; report && i < report->changes->len; i++) {
		const struct ddm_change *c = g_ptr_array_index(report->changes, i);

		g_assert(*c->item && strlen(c->item) <= DDM_NAME_MAX && strlen(c->element) <= DDM_NAME_MAX && (!c->value || strlen(c->value) <= DDM_VALUE_MAX));
	}
	for (guint i = 0; report && i < report->declared->len; i++) {
		const struct ddm_declared *d = g_ptr_array_index(report->declared, i);
		g_autoptr(json_t) reasons = ddm_reasons_json(d->reasons);

		g_assert(json_is_array(reasons));
	}
	return 0;
}
