#include "fs/cli/command.h"
const struct command doctor_commands[] = {{NULL}};
