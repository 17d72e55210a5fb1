// Vector quantization: all quantizers, codebooks and gradient estimators.
// docs/quantization.md says what each is good for.
#pragma once

#include <xgrad/nn/vq/vector_quantizer.hpp>
