#include "store/move_store.h"

#include <string.h>
#include <unistd.h>

#include "store/move_internal.h"
#include "store/store_internal.h"

/* NODE_GONE_MS: a node that was not seen for so long has ended. NODE_BEGINS_US: between its first look at the database and its place in the list. */
enum { NODE_GONE_MS = 60 * 1000, NODE_BEGINS_US = 1000 * 1000 };

/* ---- what is written down about moves in a database */

struct mark {
	bool is_there, is_done;
	char *id, *other;
	int64_t started_ms, ended_ms;
};

/* in: where the data came from; out: where it goes. */
struct marks {
	struct mark in, out;
};

static void marks_clear(struct marks *marks)
{
	g_free(marks->in.id);
	g_free(marks->in.other);
	g_free(marks->out.id);
	g_free(marks->out.other);
}

typedef struct marks marks;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(marks, marks_clear)

/* The rows of MOVE_LIST in BATCH. */
static void take_marks(const struct db_batch *batch, struct marks *ret)
{
	for (size_t row = 0; row < db_rows(batch, 0); row++) {
		struct mark *mark = strcmp(db_get_text(batch, 0, row, 0), "in") ? &ret->out : &ret->in;

		*mark = (struct mark){
			.is_there = true, .is_done = !strcmp(db_get_text(batch, 0, row, 2), "done"), .id = g_strdup(db_get_text(batch, 0, row, 1)), .other = g_strdup(db_get_text(batch, 0, row, 3)),
			.started_ms = db_get_int(batch, 0, row, 4), .ended_ms = db_get_int(batch, 0, row, 5),
		};
	}
}

static bool load_marks(struct db *db, struct marks *ret, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add_values(batch, M_MOVE_LIST, NULL, 0);
	if (db_run(db, batch, error) != DB_DONE)
		return false;
	take_marks(batch, ret);
	return true;
}

static bool fail_left(const struct mark *out, GError **error)
{
	g_autofree char *when = pom_time_format(out->is_done ? out->ended_ms : out->started_ms);

	if (out->is_done)
		return pom_fail(error, POM_ERR_STORE_MOVE, "the data of this database was moved to %s at %s: set store.url in pomona.conf to that. To go back to what this one holds, without all that has happened since:"
		                " \"pomona migrate-store --undo\"", out->other, when);
	return pom_fail(error, POM_ERR_STORE_MOVE, "the data of this database is being moved to %s, since %s: let \"pomona migrate-store\" end, or run it again if it was broken off. To give the move up: \"pomona migrate-store --undo\"",
	                out->other, when);
}

static bool fail_unfinished(const struct mark *in, GError **error)
{
	return pom_fail(error, POM_ERR_STORE_MOVE, "this database is not whole: \"pomona migrate-store\" has not ended that fills it from %s. Run it again, or empty this database and begin anew", in->other);
}

bool store_move_check(struct store *store, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	g_auto(marks) marks = {0};

	db_batch_add_values(batch, Q_MOVE_LIST, NULL, 0);
	if (!store_run(store, batch, error))
		return false;
	take_marks(batch, &marks);
	if (marks.out.is_there)
		return fail_left(&marks.out, error);
	return marks.in.is_there && !marks.in.is_done ? fail_unfinished(&marks.in, error) : true;
}

/* ---- a move */

void store_move_report_clear(struct store_move_report *report)
{
	g_clear_pointer(&report->tables, g_array_unref);
}

/* Opening would make it, or put our tables into what is somebody else's. */
static bool check_source(const char *url, GError **error)
{
	g_autofree char *name = store_url_show(url);
	int schema;

	if (!db_peek(url, &schema, error))
		return false;
	return schema ? true : pom_fail(error, POM_ERR_NOT_FOUND, "%s is not there, or holds no data of Pomona", name);
}

/* On an engine that is shared nobody else needs to have a file open to write: there, nodes say that they live. */
static bool check_nodes(struct db *db, const char *url, GError **error)
{
	g_autofree char *name = store_url_show(url);
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	int64_t ago_ms;

	if (!db_is_shared(db))
		return true;
	db_batch_add_values(batch, M_MOVE_NODES, NULL, 0);
	if (db_run(db, batch, error) != DB_DONE)
		return false;
	ago_ms = db_get_int(batch, 0, 0, 1);
	if (!db_rows(batch, 0) || ago_ms > NODE_GONE_MS)
		return true;
	return pom_fail(error, POM_ERR_LOCKED, "the server %s uses %s (seen %" G_GINT64_FORMAT " s ago): stop all servers first. One that has crashed counts until it was not seen for %d s", db_get_text(batch, 0, 0, 0), name,
	                ago_ms / 1000, NODE_GONE_MS / 1000);
}

static bool open_both(struct mover *m, GError **error)
{
	const struct store_move *o = m->o;
	int schema;

	if (!db_peek(o->to, &schema, error) || !check_source(o->from, error) || !db_check_alone(o->from, error) || !db_check_alone(o->to, error))
		return false;
	/* In this order: a refusal leaves no new file behind. */
	return (m->from = mover_open(m, o->from, error)) && check_nodes(m->from, o->from, error) && (m->to = mover_open(m, o->to, error)) && check_nodes(m->to, o->to, error);
}

/* A move that begins takes all of a database to one that has nothing. */
static bool check_beginning(struct mover *m, const struct marks *to, GError **error)
{
	g_autofree char *name = store_url_show(m->o->to), *old = store_url_show(m->o->from);
	bool from_empty, to_empty;

	if (to->in.is_there && !to->in.is_done)
		return pom_fail(error, POM_ERR_STORE_MOVE, "%s holds an unfinished move from another database or of another time (from %s): name an empty database, or empty this one", name, to->in.other);
	if (!mover_is_empty(m, m->to, &to_empty, error) || !mover_is_empty(m, m->from, &from_empty, error))
		return false;
	if (!to_empty || to->in.is_there || to->out.is_there)
		return pom_fail(error, POM_ERR_STORE_MOVE, "%s holds data already: name an empty database", name);
	return from_empty ? pom_fail(error, POM_ERR_STORE_MOVE, "%s is empty: there is nothing to move", old) : true;
}

/* Whether the move that the marks tell of may go on, or one may begin. *RET_ID: of the move; *RET_RESUMED: the target has its mark. transfer full. */
static bool decide(struct mover *m, char **ret_id, bool *ret_resumed, GError **error)
{
	g_auto(marks) from = {0}, to = {0};
	bool is_ours;

	if (!load_marks(m->from, &from, error) || !load_marks(m->to, &to, error))
		return false;
	is_ours = to.in.is_there && !to.in.is_done && from.out.is_there && !strcmp(to.in.id, from.out.id);
	if (from.in.is_there && !from.in.is_done)
		return fail_unfinished(&from.in, error);
	if (from.out.is_there && from.out.is_done && !is_ours)
		return fail_left(&from.out, error);
	if (!is_ours && !check_beginning(m, &to, error))
		return false;
	*ret_resumed = is_ours;
	/* To another target it is another move: what the first one has filled does not go on any more, or both could be ended, and used. */
	*ret_id = is_ours ? g_strdup(from.out.id) : g_strdup(pom_id_new(m->o->clock, m->o->random).text);
	return true;
}

static bool run_one(struct db *db, struct db_batch *batch, GError **error)
{
	return db_run(db, batch, error) == DB_DONE;
}

static bool put_mark(struct mover *m, struct db *db, const char *side, const char *id, const char *other_url, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	g_autofree char *other = store_url_show(other_url);

	db_batch_add(batch, M_MOVE_BEGIN, db_text(side), db_text(id), db_text(other), db_int(pom_clock_now_ms(m->o->clock)));
	if (!strcmp(side, "in"))
		mover_begin_tables(batch);
	return run_one(db, batch, error);
}

static bool take_mark_off(struct db *db, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);
	g_autoptr(GError) inner = NULL;

	db_batch_add_values(batch, M_MOVE_UNDO, NULL, 0);
	if (run_one(db, batch, &inner))
		return true;
	if (g_error_matches(inner, POM_ERROR, POM_ERR_STORE_CONFLICT))
		return pom_fail(error, POM_ERR_NOT_FOUND, "no move from this database was begun: there is nothing to undo");
	g_propagate_error(error, g_steal_pointer(&inner));
	return false;
}

/* False when somebody else has the source open. The source is opened anew for that when it is a file; afterwards it is open, whatever was found, if that can be. */
static bool is_left_alone(struct mover *m, GError **error)
{
	bool alone = true;

	/* A node that began while the mark was written may not be in the list at once. */
	for (int look = 0; alone && look < 2 && db_is_shared(m->from); look++) {
		g_usleep(look ? NODE_BEGINS_US : 0);
		alone = check_nodes(m->from, m->o->from, error);
	}
	if (db_is_shared(m->from))
		return alone;
	g_clear_pointer(&m->from, db_close);
	alone = db_check_alone(m->o->from, error);
	m->from = mover_open(m, m->o->from, alone ? error : NULL);
	return alone && m->from;
}

/* Whoever opens the source from now on sees the mark; who has it open since before is seen here. */
static bool mark_source(struct mover *m, const char *id, GError **error)
{
	g_autoptr(GError) inner = NULL;

	if (!put_mark(m, m->from, "out", id, m->o->to, error))
		return false;
	if (is_left_alone(m, &inner))
		return true;
	if (!m->from || !take_mark_off(m->from, NULL))
		g_prefix_error(&inner, "the move that was begun must be undone with \"pomona migrate-store --undo\": ");
	g_propagate_error(error, g_steal_pointer(&inner));
	return false;
}

static bool put_end(struct mover *m, struct db *db, const char *side, const char *id, GError **error)
{
	g_autoptr(db_batch) batch = db_batch_new(NULL);

	db_batch_add(batch, M_MOVE_END, db_text(side), db_text(id), db_int(pom_clock_now_ms(m->o->clock)));
	if (!strcmp(side, "in"))
		db_batch_add_values(batch, M_MOVE_TABLE_FORGET, NULL, 0);
	return run_one(db, batch, error);
}

static bool run_move(struct mover *m, struct store_move_report *report, GError **error)
{
	g_autofree char *id = NULL;
	uint64_t before;

	if (!open_both(m, error) || !decide(m, &id, &report->resumed, error))
		return false;
	if (!report->resumed && (!mark_source(m, id, error) || !put_mark(m, m->to, "in", id, m->o->from, error)))
		return false;
	if (!mover_copy(m, &before, error) || !mover_compare(m, report, error))
		return false;
	report->n_copied = report->n_rows - before;
	/* In this order: at no time may both be used. */
	return put_end(m, m->from, "out", id, error) && put_end(m, m->to, "in", id, error);
}

bool store_move(const struct store_move *o, struct store_move_report *ret, GError **error)
{
	g_auto(store_move_report) report = {.tables = g_array_new(FALSE, FALSE, sizeof(struct store_move_table))};
	struct mover mover;
	bool ok;

	mover_init(&mover, o);
	ok = run_move(&mover, &report, error);
	mover_clear(&mover);
	if (ok) {
		*ret = report;
		report.tables = NULL;
	}
	return ok;
}

bool store_move_undo(const char *url, GError **error)
{
	const struct store_move o = {.from = url};
	struct mover mover;
	bool ok;

	if (!check_source(url, error) || !db_check_alone(url, error))
		return false;
	mover_init(&mover, &o);
	mover.from = mover_open(&mover, url, error);
	ok = mover.from && check_nodes(mover.from, url, error) && take_mark_off(mover.from, error);
	mover_clear(&mover);
	return ok;
}
