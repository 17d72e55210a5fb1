// Low-rank adapters: attach, train, merge.
// docs/lora.md says how they are used.
#pragma once

#include <xgrad/nn/lora/attach.hpp>
#include <xgrad/nn/lora/combine.hpp>
#include <xgrad/nn/lora/init.hpp>
#include <xgrad/nn/lora/merge.hpp>
#include <xgrad/nn/lora/peft.hpp>
