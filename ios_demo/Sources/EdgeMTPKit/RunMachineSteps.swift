extension RunMachine {
  /// Goes on with the plan until something has to be waited for.
  mutating func advance() {
    while true {
      if stopping { return finish("stopped") }
      if inBackground { return stage = .paused }
      if block != nil { return startTrial(in: block) }
      guard nextStep < steps.count else { return finish("finished") }
      let step = steps[nextStep]
      nextStep += 1
      if begin(step) { return }
    }
  }

  /// Starts a step; false where there is nothing to wait for.
  private mutating func begin(_ step: RunStep) -> Bool {
    switch step {
    case .engine(let arm): return needEngine(arm)
    case .warmup(let arm, let prompt, let afterLoadOnly):
      if afterLoadOnly, life?.trials.isEmpty == false { return false }
      start(TrialPlace(index: trialsMade, arm: arm, prompt: prompt, block: nil, repeatIndex: 0))
      return true
    case .baseline(let seconds): return wait(seconds, isBaseline: true)
    case .cooldown(let seconds): return wait(seconds, isBaseline: false)
    case .gate:
      stage = .gate(sinceMs: nowMs)
      return !gateIsDecided()
    case .block(let place, let prompts):
      openBlock(place, prompts)
      return false
    }
  }

  private mutating func wait(_ seconds: Int, isBaseline: Bool) -> Bool {
    guard seconds > 0 else { return false }
    stage = .waiting(untilMs: nowMs + Int64(seconds) * 1000, isBaseline: isBaseline)
    return true
  }

  mutating func lookAtGate() { if gateIsDecided() { advance() } }

  /// True where the phone is fit, or the wait has been long enough; `gate` says which.
  private mutating func gateIsDecided() -> Bool {
    guard case .gate(let sinceMs) = stage else { return true }
    gate.waitMs = nowMs - sinceMs
    gate.passed = plan.gate.obstacles(reading).isEmpty
    return gate.passed || gate.waitMs >= Int64(plan.gate.maxWaitS) * 1000
  }

  private mutating func openBlock(_ place: BlockPlace, _ prompts: [Prompt]) {
    let pair = JSON.whole(place.pair)
    if place.order == 0 {
      firstBlockTexts = [:]
      event("pair", .object(["pair": pair]))
    }
    event("block", .object(["pair": pair, "order": .whole(place.order), "arm": .text(place.arm.rawValue)]))
    block = BlockRun(place: place, prompts: prompts, startMs: nowMs)
  }

  private mutating func startTrial(in block: BlockRun?) {
    guard let block else { return }
    start(
      TrialPlace(
        index: trialsMade, arm: block.place.arm, prompt: block.prompt, block: block.place,
        repeatIndex: block.repeatIndex))
  }

  private mutating func start(_ place: TrialPlace) {
    trialsMade += 1
    stage = .trial(RunningTrial(place: place, watch: TrialWatch(startMs: nowMs, reading: reading)))
    var request = GenerationRequest(
      text: place.prompt.text, system: place.prompt.system, maxOutputTokens: plan.lengths.maxOutputTokens)
    request.sampler = plan.sampler
    out.append(.generate(request))
  }

  mutating func trialEnded(_ generation: Generation) {
    guard case .trial(let trial) = stage else { return }
    life?.trials.append(trial.place.index)
    life?.drafting.add(generation)
    block?.drafting.add(generation)
    let finished = judge(trial, generation)
    outcomes.append(finished.outcome)
    out.append(.record(finished.record(tMs: nowMs)))
    stage = .idle
    afterTrial(finished, failed: generation.finishReason == .error)
  }

  private func judge(_ trial: RunningTrial, _ generation: Generation) -> FinishedTrial {
    let isWarmup = trial.place.block == nil
    var alone = DraftingCount()
    alone.add(generation)
    let circumstances = TrialCircumstances(
      rule: plan.gate, isSustained: plan.lengths.isSustained, fallback: fallback != nil,
      gatePassed: isWarmup || gate.passed, drafting: block?.drafting ?? alone)
    let first = trial.place.block?.order == 1 ? firstBlockTexts[trial.place.repeatIndex] : nil
    return FinishedTrial(
      place: trial.place, generation: generation, watch: trial.watch, gate: isWarmup ? nil : gate,
      reasons: circumstances.reasons(trial.place, generation, trial.watch),
      pairText: first)
  }

  private mutating func afterTrial(_ finished: FinishedTrial, failed: Bool) {
    errorsInARow = failed ? errorsInARow + 1 : 0
    if errorsInARow == 3 {
      let words = finished.generation.error ?? "no reason given"
      event("error", .text("three trials in a row failed: \(words)"))
      return finish("error", problem: "three trials in a row failed: \(words)")
    }
    if let block { closeOrRepeat(block, finished, failed: failed) }
    advance()
  }

  /// A failed trial ends its block: the next engine may do better, and a broken one must not fill the log.
  private mutating func closeOrRepeat(_ block: BlockRun, _ finished: FinishedTrial, failed: Bool) {
    if block.place.order == 0 { firstBlockTexts[block.repeatIndex] = WrittenText(finished.generation) }
    let over = nowMs - block.startMs >= Int64(plan.lengths.blockS) * 1000
    if over || failed {
      self.block = nil
    } else {
      self.block?.repeatIndex += 1
    }
  }
}

extension RunMachine {
  /// Makes sure that an engine for `arm` is loaded; false where it is.
  private mutating func needEngine(_ arm: Arm) -> Bool {
    guard let life else {
      load(arm)
      return true
    }
    if life.arm == arm || (fallback != nil && !life.speculative) { return false }
    nextStep -= 1
    stage = .unloading(thenEnd: nil)
    out.append(.unload)
    return true
  }

  private mutating func load(_ arm: Arm) {
    let speculative = arm == .on && fallback == nil
    stage = .loading(arm, speculative: speculative, bytesBefore: reading.memFootprintBytes)
    out.append(.load(speculative: speculative))
  }

  mutating func engineLoaded(_ loadMs: Double) {
    guard case .loading(let arm, let speculative, let before) = stage else { return }
    let bytes = reading.memFootprintBytes.flatMap { now in before.map { max(0, now - $0) } }
    life = EngineLife(index: enginesMade, arm: arm, speculative: speculative, loadMs: loadMs, loadBytes: bytes)
    enginesMade += 1
    stage = .idle
    advance()
  }

  mutating func engineFailed(_ words: String) {
    guard case .loading(let arm, let speculative, _) = stage else { return }
    if speculative, !stopping {
      fallback = words
      event("fallback", .text(words))
      load(arm)
    } else {
      event("error", .text(words))
      stage = .idle
      finish(stopping ? "stopped" : "error", problem: words)
    }
  }

  mutating func engineGone(_ said: Acceptance) {
    guard case .unloading(let end) = stage else { return }
    if let life {
      out.append(.record(life.record(said, tMs: nowMs)))
      if let rate = said.rate, life.arm == .on { acceptance.append(rate) }
    }
    life = nil
    stage = .idle
    if let end { return close(end) }
    advance()
  }

  mutating func finish(_ reason: String, problem: String? = nil) {
    let end = EndWords(reason: reason, problem: problem)
    if life == nil { return close(end) }
    stage = .unloading(thenEnd: end)
    out.append(.unload)
  }

  private mutating func close(_ end: EndWords) {
    let summary = Summary.fields(
      outcomes, acceptance: acceptance, batterySteps: battery.count, seed: plan.seed)
    out.append(
      .record(LogRecord(.end, tMs: nowMs, ["reason": .text(end.reason), "summary": .object(summary)])))
    stage = .over
    out.append(.finished(problem: end.problem))
  }
}
