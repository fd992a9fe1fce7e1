#include "tools/program.h"

int main(int argc, char** argv) { return tiller::run_program({argv + 1, argv + argc}); }
