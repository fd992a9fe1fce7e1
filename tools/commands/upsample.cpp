#include "tools/commands/commands.h"
namespace tiller { int upsample_command(const Flags&) { return 0; } int nll_command(const Flags&) { return 0; } }
