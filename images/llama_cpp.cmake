# Builds llama.cpp without its "common" library, which llama-cpp-python does not use: 83 build steps instead of 193.
set(LLAMA_BUILD_COMMON OFF)
