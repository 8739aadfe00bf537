#include "fs/cli/password.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/ops/json.h"

#define PASSWORD_MAX 4096
#define OUTPUT_MAX 16384

void password_free(char *password)
{
	free_secret(password);
}

static char *first_line(const char *text)
{
	return xasprintf("%.*s", (int)strcspn(text, "\r\n"), text);
}

int password_read_file(const char *path, char **ret_password, struct error *err)
{
	AUTO_BUF content = BUF_INIT;
	int r = file_read(path, PASSWORD_MAX, &content);

	if (r < 0)
		return error_set(err, r, "the password file %s cannot be read: %s", path, error_text(r));
	buf_add_u8(&content, 0);
	*ret_password = first_line((char *)content.data);
	explicit_bzero(content.data, content.len);
	if (**ret_password)
		return 0;
	free(steal_ptr(*ret_password));
	return error_set(err, -EINVAL, "the password file %s has an empty first line, which would be the password", path);
}

int password_command_output(const char *command, char **ret_text, struct error *err)
{
	char text[OUTPUT_MAX] = "";
	FILE *output = popen(command, "re");
	size_t len;

	if (!output)
		return error_set(err, -errno, "the command \"%s\" cannot be run: %s", command, strerror(errno));
	len = fread(text, 1, sizeof(text) - 1, output);
	text[len] = '\0';
	if (pclose(output) != 0 || len == 0) {
		explicit_bzero(text, sizeof(text));
		return error_set(err, -EINVAL, "the command \"%s\" failed, or printed nothing", command);
	}
	*ret_text = xstrdup(text);
	explicit_bzero(text, sizeof(text));
	return 0;
}

static int from_command(const char *command, char **ret_password, struct error *err)
{
	char *text = NULL;
	int r = password_command_output(command, &text, err);

	if (r == 0)
		*ret_password = first_line(text);
	password_free(text);
	return r;
}

/* --- the terminal --- */

/* What ends or stops a process that asks: the terminal is as it was before that happens. */
static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
static volatile sig_atomic_t came; /* a signal's handler has no argument to find its state by */

static void note_signal(int number)
{
	came = number;
}

/* One line that is not shown. Whether there was one; `came` says which signal ended it. */
static bool read_silently(FILE *terminal, const struct termios *before, char *text, int size)
{
	struct sigaction action = {.sa_handler = note_signal}, old[ARRAY_SIZE(ending)]; /* no SA_RESTART: reading ends */
	struct termios silent = *before;
	bool got;

	came = 0;
	for (size_t i = 0; i < ARRAY_SIZE(ending); i++)
		sigaction(ending[i], &action, &old[i]);
	silent.c_lflag &= ~(tcflag_t)ECHO;
	(void)tcsetattr(fileno(terminal), TCSAFLUSH, &silent);
	got = fgets(text, size, terminal) != NULL && came == 0;
	(void)tcsetattr(fileno(terminal), TCSAFLUSH, before);
	for (size_t i = 0; i < ARRAY_SIZE(ending); i++)
		sigaction(ending[i], &old[i], NULL);
	return got;
}

static int ask(FILE *terminal, const char *prompt, char **ret_password)
{
	struct termios before;
	char text[PASSWORD_MAX] = "";
	bool got;

	do {
		fputs(prompt, terminal);
		fflush(terminal);
		if (tcgetattr(fileno(terminal), &before) < 0)
			return -errno;
		got = read_silently(terminal, &before, text, sizeof(text));
		fputs("\n", terminal);
		fflush(terminal);
		if (came != 0)
			raise(came);
		clearerr(terminal);
	} while (!got && came == SIGTSTP); /* and now it goes on */
	if (!got)
		return -EINVAL;
	*ret_password = first_line(text);
	explicit_bzero(text, sizeof(text));
	return 0;
}

/* sources: what to use where there is no terminal. */
static int from_terminal(const char *prompt, bool is_new, const char *sources, char **ret_password, struct error *err)
{
	FILE *terminal = fopen("/dev/tty", "r+e");
	char *again = NULL;
	int r;

	if (!terminal) {
		(void)error_set(err, -EINVAL, "no %spassword is given", strncmp(prompt, "new", 3) == 0 ? "new " : "");
		error_hint(err, "use %s", sources);
		return -EINVAL;
	}
	r = ask(terminal, prompt, ret_password);
	if (r == 0 && is_new) {
		r = ask(terminal, "the same again: ", &again);
		if (r == 0 && strcmp(again, *ret_password) != 0)
			r = error_set(err, -EINVAL, "the two passwords differ");
	}
	password_free(again);
	(void)fclose(terminal);
	return r < 0 ? error_default(err, r, "the password cannot be read") : 0;
}

/* --- */

static int find(struct cli *cli, bool is_new, char **ret_password, struct error *err)
{
	static const char *const prefixes[] = {"CORPUSFS", "RESTIC"};
	const char *file = json_string_value(json_object_get(cli->remote, "password_file"));
	const char *command = json_string_value(json_object_get(cli->remote, "password_command"));

	if (cli_option(cli, "password-file"))
		return password_read_file(cli_option(cli, "password-file"), ret_password, err);
	if (cli_option(cli, "password-command"))
		return from_command(cli_option(cli, "password-command"), ret_password, err);
	if (file)
		return password_read_file(file, ret_password, err);
	if (command)
		return from_command(command, ret_password, err);
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		char name[64];
		const char *value;

		(void)snprintf(name, sizeof(name), "%s_PASSWORD", prefixes[i]);
		if ((value = getenv(name)) && *value) {
			*ret_password = xstrdup(value);
			return 0;
		}
		(void)snprintf(name, sizeof(name), "%s_PASSWORD_FILE", prefixes[i]);
		if ((value = getenv(name)) && *value)
			return password_read_file(value, ret_password, err);
		(void)snprintf(name, sizeof(name), "%s_PASSWORD_COMMAND", prefixes[i]);
		if ((value = getenv(name)) && *value)
			return from_command(value, ret_password, err);
	}
	return from_terminal("password of the repository: ", is_new,
	                     "--password-file FILE, --password-command COMMAND or the variable CORPUSFS_PASSWORD", ret_password, err);
}

int password_get(struct cli *cli, bool is_new, char **ret_password, struct error *err)
{
	char *password = NULL;
	int r = find(cli, is_new, &password, err);

	if (r == 0 && !*password)
		r = error_set(err, -EINVAL, "the password is empty");
	if (r < 0)
		password_free(password);
	else
		*ret_password = password;
	return r;
}

int password_set(struct cli *cli, json_t *args, bool is_new, struct error *err)
{
	char *password = NULL;
	int r = password_get(cli, is_new, &password, err);

	if (r == 0)
		json_object_set_new(args, "password", json_from_bytes(password));
	password_free(password);
	return r;
}

int password_get_new(struct cli *cli, char **ret_password, struct error *err)
{
	const char *value = getenv("CORPUSFS_NEW_PASSWORD");
	int r = 0;

	if (cli_option(cli, "new-password-file"))
		r = password_read_file(cli_option(cli, "new-password-file"), ret_password, err);
	else if (value && *value)
		*ret_password = xstrdup(value);
	else
		r = from_terminal("new password: ", true, "--new-password-file FILE or the variable CORPUSFS_NEW_PASSWORD", ret_password, err);
	return r == 0 && !**ret_password ? error_set(err, -EINVAL, "the new password is empty") : r;
}
