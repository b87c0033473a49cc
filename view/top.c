/* Refreshes the table of --top. */

/*
 * Theory of operation
 *
 * Each second the server is asked anew, over a new connection. Two answers make
 * the rates of bytes. The table fits the size that the terminal has then: a
 * smaller terminal has fewer columns, but always the rates, and fewer rows.
 *
 * Signals are read from a signalfd, so that the terminal is as before when the
 * program ends. The terminal reports ^C as a byte, like the other keys.
 */

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "view/table.h"
#include "view/top.h"

#define REFRESH_MS  1000
#define CTRL_C      3
#define CTRL_D      4
#define SCREEN_ON   "\033[?1049h\033[?25l"
#define SCREEN_OFF  "\033[?25h\033[?1049l"
#define SCREEN_HOME "\033[H"
#define LINE_END    "\033[K\n"
#define SCREEN_END  "\033[J"

struct top {
	const char *path, *request;
	struct view_table last; /* text is NULL: there was none */
	msec last_at;
};

/* Returns the row of `last` with the same first two fields as a row, or 0. */
static size_t
find_last(const struct view_table *last, const struct view_table *t, size_t row)
{
	for (size_t i = 1; i < last->n_rows; i++)
		if (strcmp(view_cell(last, i, 0), view_cell(t, row, 0)) == 0 &&
		    strcmp(view_cell(last, i, 1), view_cell(t, row, 1)) == 0)
			return i;
	return 0;
}

/* Prints how much a field has grown in a second, and a tab. */
static void
print_rate(FILE *out, const struct top *top, const struct view_table *t,
    size_t row, size_t column)
{
	size_t old = find_last(&top->last, t, row);
	unsigned long long before, now;
	msec span = now_ms() - top->last_at;

	if (old && column < top->last.n_columns && span > 0) {
		before = strtoull(view_cell(&top->last, old, column), NULL, 10);
		now = strtoull(view_cell(t, row, column), NULL, 10);
		fprintf(out, "%llu",
		    now > before
			? (now - before) * 1000 / (unsigned long long)span
			: 0);
	}
	fputc('\t', out);
}

static void
print_with_rates(FILE *out, const struct top *top, const struct view_table *t,
    size_t row)
{
	const size_t up = view_column(t, "up"), down = view_column(t, "down");

	for (size_t i = 0; i < t->n_columns; i++) {
		fprintf(out, "%s%c", view_cell(t, row, i),
		    i + 1 < t->n_columns ? '\t' : '\n');
		if (i != down || up == t->n_columns || i + 1 == t->n_columns)
			continue;
		if (row == 0) {
			fputs("up_s\tdown_s\t", out);
			continue;
		}
		print_rate(out, top, t, row, up);
		print_rate(out, top, t, row, down);
	}
}

static struct winsize
screen_size(void)
{
	struct winsize size = {0};

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == -1 || !size.ws_row ||
	    !size.ws_col)
		size = (struct winsize){.ws_row = 24, .ws_col = 80};
	return size;
}

/* Prints the table with rates into text, which the caller frees, or NULL. */
static char *
render(const struct top *top, const struct view_table *t)
{
	struct view_table wide = {0};
	char *fields = NULL, *text = NULL;
	size_t size;
	FILE *out = open_memstream(&fields, &size);

	for (size_t row = 0; out && row < t->n_rows; row++)
		print_with_rates(out, top, t, row);
	if (!out || fclose(out) != 0)
		return NULL;
	if (view_table_parse(&wide, fields) &&
	    (out = open_memstream(&text, &size))) {
		view_table_print(out, &wide, screen_size().ws_col);
		if (fclose(out) != 0)
			text = NULL;
	}
	view_table_free(&wide);
	return text;
}

static void
draw(const struct top *top, const char *text)
{
	const struct winsize size = screen_size();
	int rows = size.ws_row - 3,
	    room = size.ws_col > 41 ? size.ws_col - 40 : 1;
	bool cut = strlen(top->path) > (size_t)room;
	char now[26], title[PATH_MAX + 64];

	clock_format_utc(now);
	snprintf(title, sizeof(title), "nsfwd %.*s%s, q quits, %.19sZ",
	    room - cut, top->path, cut ? "+" : "", now);
	printf(SCREEN_HOME "%.*s" LINE_END LINE_END,
	    (int)view_cut(title, size.ws_col), title);
	for (; *text && rows-- > 0; text += strcspn(text, "\n") + 1)
		printf("%.*s" LINE_END, (int)view_cut(text, size.ws_col), text);
	fputs(SCREEN_END, stdout);
	fflush(stdout);
}

/* Asks the server and draws. Returns -1, logged by view_get(). */
static int
refresh_screen(struct top *top)
{
	struct view_table t;
	char *text;

	if (view_get(&t, top->path, top->request) == -1)
		return -1;
	text = render(top, &t);
	if (text)
		draw(top, text);
	free(text);
	view_table_free(&top->last);
	top->last = t;
	top->last_at = now_ms();
	return 0;
}

/* Waits for the next refresh. Returns false if the user quits. */
static bool
wait_for_user(int signal_fd, msec until)
{
	struct pollfd watched[] = {
	    {.fd = signal_fd, .events = POLLIN},
	    {.fd = isatty(STDIN_FILENO) ? STDIN_FILENO : -1, .events = POLLIN},
	};
	char key;

	while (poll(watched, 2, poll_timeout(until)) > 0) {
		if (watched[0].revents)
			return false;
		if (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' ||
		    key == 'Q' || key == CTRL_C || key == CTRL_D)
			return false;
	}
	return true;
}

/* Has the terminal report keys at once. Returns false if there is none. */
static bool
set_terminal(struct termios *before)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, before) == -1)
		return false;
	raw = *before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG);
	return tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

static int
open_signals(void)
{
	static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_LEN(ending); i++)
		sigaddset(&set, ending[i]);
	if (sigprocmask(SIG_BLOCK, &set, NULL) == -1)
		return -1;
	return signalfd(-1, &set, SFD_CLOEXEC);
}

/* Refreshes until the user quits. Returns -1 after a failure. */
static int
show_screen(struct top *top, int signal_fd)
{
	int result;

	fputs(SCREEN_ON, stdout);
	while ((result = refresh_screen(top)) == 0 &&
	    wait_for_user(signal_fd, top->last_at + REFRESH_MS))
		;
	fputs(SCREEN_OFF, stdout);
	fflush(stdout);
	return result;
}

/*
 * The terminal forgets what was logged on the screen of the table, so that the
 * server is asked again after a failure, and the log of that one stays.
 */
int
top_run(const char *path, const char *request)
{
	struct top top = {.path = path, .request = request};
	int signal_fd = open_signals(), result;
	struct termios before;
	struct view_table again;
	bool raw = set_terminal(&before);

	while ((result = show_screen(&top, signal_fd)) == -1 &&
	    view_get(&again, path, request) == 0)
		view_table_free(&again);
	if (raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &before);
	view_table_free(&top.last);
	close(signal_fd);
	return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
