// xgrad: autograd for the xtensor stack. This one header brings everything a training script uses.
// To define operations of your own, include <xgrad/core/record.hpp> as well.
#pragma once

#include <xgrad/core/derivatives.hpp>
#include <xgrad/core/memory.hpp>
#include <xgrad/core/ops.hpp>
#include <xgrad/core/parallel.hpp>
#include <xgrad/core/pause.hpp>
#include <xgrad/core/random.hpp>
#include <xgrad/core/recompute.hpp>
#include <xgrad/core/tape.hpp>
#include <xgrad/core/tensor.hpp>
#include <xgrad/models/generate.hpp>
#include <xgrad/models/gpt.hpp>
#include <xgrad/models/mlp.hpp>
#include <xgrad/nn/activation.hpp>
#include <xgrad/nn/attention.hpp>
#include <xgrad/nn/checkpoint.hpp>
#include <xgrad/nn/conv.hpp>
#include <xgrad/nn/dropout.hpp>
#include <xgrad/nn/embedding.hpp>
#include <xgrad/nn/feedforward.hpp>
#include <xgrad/nn/init.hpp>
#include <xgrad/nn/linear.hpp>
#include <xgrad/nn/loss.hpp>
#include <xgrad/nn/module.hpp>
#include <xgrad/nn/multihead.hpp>
#include <xgrad/nn/norm.hpp>
#include <xgrad/nn/pool.hpp>
#include <xgrad/nn/position.hpp>
#include <xgrad/nn/recurrent.hpp>
#include <xgrad/nn/vq.hpp>
#include <xgrad/optim/adam.hpp>
#include <xgrad/optim/clip.hpp>
#include <xgrad/optim/optimizer.hpp>
#include <xgrad/optim/schedule.hpp>
#include <xgrad/optim/sgd.hpp>
