import Foundation

/// Which way tokens are made: one by one, or drafted and verified.
public enum Arm: String, Sendable, CaseIterable {
  /// MTP off.
  case off = "spec_off"
  /// MTP on.
  case on = "spec_on"

  /// The other arm.
  public var other: Arm { self == .off ? .on : .off }
}

/// How tokens are chosen; `topK` 1 is greedy.
public struct Sampler: Sendable, Equatable {
  /// Divides the logits.
  public var temperature = 1.0
  /// How many of the best tokens take part.
  public var topK = 1
  /// The probability that they share.
  public var topP = 1.0
  /// Of the engine's random numbers.
  public var seed = 0

  /// Greedy.
  public init() {}

  /// The sampler as plan and log have it.
  public var json: JSON {
    .object([
      "temperature": .number(temperature), "top_k": .whole(topK), "top_p": .number(topP), "seed": .whole(seed),
    ])
  }
}

/// What the phone must be like before a block starts. After `maxWaitS` it runs all the same, and is marked.
public struct GateRule: Sendable, Equatable {
  /// The highest thermal state, 0 nominal to 3 critical.
  public var maxThermal = 0
  /// 0 to 1.
  public var minBatteryLevel = 0.2
  /// No charger.
  public var unplugged = true
  /// No Low Power Mode.
  public var lowPowerOff = true
  /// Seconds.
  public var maxWaitS = 600

  /// Nominal, unplugged, a fifth of the battery, ten minutes.
  public init() {}

  /// The gate as plan and log have it.
  public var json: JSON {
    .object([
      "max_thermal": .whole(maxThermal), "min_battery_level": .number(minBatteryLevel), "unplugged": .bool(unplugged),
      "low_power_off": .bool(lowPowerOff), "max_wait_s": .whole(maxWaitS),
    ])
  }
}

/// One task of the plan; acceptance differs by its class.
public struct Prompt: Sendable, Equatable {
  /// What trials call it.
  public let id: String
  /// `chat`, `code` and so on.
  public let promptClass: String
  /// What is asked.
  public let text: String
  /// The system message, where there is one.
  public let system: String?

  /// A task.
  public init(id: String, promptClass: String, text: String, system: String? = nil) {
    self.id = id
    self.promptClass = promptClass
    self.text = text
    self.system = system
  }

  var json: JSON {
    .object([
      "id": .text(id), "prompt_class": .text(promptClass), "text": .text(text), "system": .optional(system),
    ])
  }
}

/// Two blocks on the same prompts, one an arm.
public struct Pair: Sendable, Equatable {
  /// 0, 1, 2 …
  public let index: Int
  /// The arm of the first block.
  public let first: Arm
  /// Ids, run one after another.
  public let prompts: [String]

  var json: JSON {
    .object([
      "pair": .whole(index), "first": .text(first.rawValue), "prompts": .list(prompts.map { .text($0) }),
    ])
  }
}

/// How long and how often.
public struct PlanLengths: Sendable, Equatable {
  /// Trials an arm before the first pair, not counted.
  public var warmups = 1
  /// A block repeats its prompts until this many seconds have passed; 0 is one trial.
  public var blockS = 0
  /// Idle seconds before and after each pair.
  public var baselineS = 0
  /// Idle seconds between blocks, before the gate.
  public var cooldownS = 0
  /// The longest reply, in tokens.
  public var maxOutputTokens = 128

  /// One warm-up, single trials, no waiting.
  public init() {}

  /// Blocks this long heat the phone on purpose.
  public var isSustained: Bool { blockS >= 300 }
}

/// What a run does, as `edge-mtp device plan` writes it; docs/device-log.md has the format.
public struct Plan: Sendable, Equatable {
  /// Of the order of pairs and prompts.
  public let seed: Int64
  /// How long and how often.
  public let lengths: PlanLengths
  /// Of both arms.
  public let sampler: Sampler
  /// In front of every block.
  public let gate: GateRule
  /// The name of the prompts.
  public let promptSet: String
  /// The tasks.
  public let prompts: [Prompt]
  /// In the order of running.
  public let pairs: [Pair]

  /// A plan from its parts.
  public init(
    seed: Int64, lengths: PlanLengths, sampler: Sampler, gate: GateRule, promptSet: String, prompts: [Prompt],
    pairs: [Pair]
  ) {
    self.seed = seed
    self.lengths = lengths
    self.sampler = sampler
    self.gate = gate
    self.promptSet = promptSet
    self.prompts = prompts
    self.pairs = pairs
  }

  /// The prompt that trials call `id`.
  public func prompt(_ id: String) -> Prompt? { prompts.first { $0.id == id } }

  /// Of the compact JSON of all prompts; what a log is known by.
  public var promptSetSHA256: String { SHA256.hex(of: JSON.list(prompts.map(\.json)).compact()) }

  /// The whole plan as a file has it.
  public var json: JSON {
    .object(
      Fields(dictionaryLiteral: ("format", .text("edge_mtp.plan")), ("v", .integer(1)))
        .followed(by: shape(pairCount: nil))
        .followed(by: ["prompts": .list(prompts.map(\.json)), "pairs": .list(pairs.map(\.json))]))
  }

  /// The plan as the log's `run` record has it, without prompts and pairs.
  public var logFields: Fields { shape(pairCount: pairs.count) }

  private func shape(pairCount: Int?) -> Fields {
    [
      "design": .text("abba"), "seed": .integer(seed), "pair_count": .optional(pairCount),
      "warmups": .whole(lengths.warmups), "block_s": .whole(lengths.blockS), "baseline_s": .whole(lengths.baselineS),
      "cooldown_s": .whole(lengths.cooldownS), "max_output_tokens": .whole(lengths.maxOutputTokens),
      "sampler": sampler.json, "prompt_set": .text(promptSet), "prompt_set_sha256": .text(promptSetSHA256),
      "gate": gate.json,
    ]
  }
}
