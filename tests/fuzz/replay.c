/* Runs a fuzz target over files and folders of seeds, once each, and reports them as TAP: the corpus is a regression
 * test that needs no fuzzing engine. Also tries every prefix length of small seeds, since truncation is the commonest fault. */
#include <glib.h>
#include <stdint.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PREFIX_MAX = 2048 };
static int n_cases;

static void run(const char *data, size_t len)
{
	/* An exact heap copy, so that a sanitizer sees a read past the end. */
	uint8_t *copy = g_memdup2(data, len ? len : 1);

	LLVMFuzzerTestOneInput(copy, len);
	g_free(copy);
}

static void run_file(const char *path)
{
	g_autofree char *data = NULL;
	gsize len;

	if (!g_file_get_contents(path, &data, &len, NULL)) {
		printf("not ok %d - %s cannot be read\n", ++n_cases, path);
		return;
	}
	run(data, len);
	for (size_t n = 0; len <= PREFIX_MAX && n < len; n++)
		run(data, n);
	g_autofree char *name = g_path_get_basename(path);
	printf("ok %d - seed %s\n", ++n_cases, name);
}

static void run_path(const char *path)
{
	g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
	const char *name;

	if (!dir) {
		run_file(path);
		return;
	}
	while ((name = g_dir_read_name(dir))) {
		g_autofree char *child = g_build_filename(path, name, NULL);

		run_path(child);
	}
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		run_path(argv[i]);
	printf("1..%d\n", n_cases);
	return n_cases > 0 ? 0 : 1;
}
