#pragma once
#include "tools/flags/flags.h"

namespace tiller {

int sample_command(const Flags& flags);
int upsample_command(const Flags& flags);
int train_command(const Flags& flags);
int train_classifier_command(const Flags& flags);
int nll_command(const Flags& flags);
int demo_command(const Flags& flags);
int verify_command(const Flags& flags);
int inspect_command(const Flags& flags);
int convert_command(const Flags& flags);
int graph_command(const Flags& flags);
int gradcheck_command(const Flags& flags);
int devices_command(const Flags& flags);
int profile_command(const Flags& flags);
int plot_command(const Flags& flags);
int quality_command(const Flags& flags);

}  // namespace tiller
