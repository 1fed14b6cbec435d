/// What a run does, one after another. Made from the plan before anything starts.
enum RunStep: Sendable, Equatable {
  /// Have an engine for this arm; does nothing where it is there.
  case engine(Arm)
  /// A trial that is not counted. `afterLoadOnly`: left out where the engine has answered before.
  case warmup(Arm, Prompt, afterLoadOnly: Bool)
  /// Idle, measured.
  case baseline(seconds: Int)
  /// Idle before the gate is looked at.
  case cooldown(seconds: Int)
  /// Wait until the phone is fit, at most as long as the plan says.
  case gate
  /// Trials of one arm.
  case block(BlockPlace, [Prompt])

  /// All steps of `plan`. An engine is loaded before the cool-down, so that the block does not start with its heat,
  /// and answers once before it counts wherever the plan warms up at all.
  static func all(_ plan: Plan) -> [RunStep] {
    var steps = warmups(plan)
    for (number, pair) in plan.pairs.enumerated() {
      let prompts = pair.prompts.compactMap(plan.prompt)
      if number == 0 { steps.append(.baseline(seconds: plan.lengths.baselineS)) }
      for (order, arm) in [pair.first, pair.first.other].enumerated() {
        steps.append(.engine(arm))
        if plan.lengths.warmups > 0, let first = prompts.first {
          steps.append(.warmup(arm, first, afterLoadOnly: true))
        }
        steps += [
          .cooldown(seconds: plan.lengths.cooldownS), .gate,
          .block(BlockPlace(pair: pair.index, order: order, arm: arm), prompts),
        ]
      }
      steps.append(.baseline(seconds: plan.lengths.baselineS))
    }
    return steps
  }

  private static func warmups(_ plan: Plan) -> [RunStep] {
    guard plan.lengths.warmups > 0, let first = plan.pairs.first?.prompts.first.flatMap(plan.prompt) else { return [] }
    return [Arm.off, .on].flatMap { arm in
      [.engine(arm)] + Array(repeating: .warmup(arm, first, afterLoadOnly: false), count: plan.lengths.warmups)
    }
  }
}
