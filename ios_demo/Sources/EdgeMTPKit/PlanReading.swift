import Foundation

extension Plan {
  /// Reads a plan file. Throws `DataProblem` where it is none, is of another version, or contradicts itself.
  public init(data: Data) throws(DataProblem) {
    try self.init(reading: PlanReader(json: JSON.parse(data)))
  }

  private init(reading reader: PlanReader) throws(DataProblem) {
    try reader.checkFormat()
    let prompts = try reader.list("prompts").map { one throws(DataProblem) in try PlanReader(json: one).prompt() }
    let pairs = try reader.list("pairs").map { one throws(DataProblem) in try PlanReader(json: one).pair() }
    self.init(
      seed: Int64(try reader.whole("seed")), lengths: try reader.lengths(), sampler: try reader.sampler(),
      gate: try reader.gate(), promptSet: try reader.text("prompt_set"), prompts: prompts, pairs: pairs)
    try checkPrompts(statedSHA256: reader.text("prompt_set_sha256"))
  }

  private func checkPrompts(statedSHA256: String) throws(DataProblem) {
    let known = Set(prompts.map(\.id))
    let unknown = pairs.flatMap(\.prompts).first { !known.contains($0) }
    if pairs.isEmpty || pairs.contains(where: { $0.prompts.isEmpty }) || known.count < prompts.count {
      throw PlanReader.refusal("pairs without prompts, or prompts that share an id", "a prompt for every pair")
    }
    if let unknown {
      throw PlanReader.refusal("a pair asks for prompt \"\(unknown)\"", "an id from the plan's prompts")
    }
    if promptSetSHA256 != statedSHA256 {
      throw PlanReader.refusal("the prompts are not those that prompt_set_sha256 was made from", "the plan as written")
    }
  }
}

/// Reads the members of one object of a plan file.
struct PlanReader {
  let json: JSON

  static func refusal(_ found: String, _ needed: String) -> DataProblem {
    DataProblem("the plan: \(found)", needed: needed, fix: "write it with edge-mtp device plan")
  }

  func checkFormat() throws(DataProblem) {
    guard json["format"]?.text == "edge_mtp.plan" else {
      throw Self.refusal("not a plan file", "format edge_mtp.plan")
    }
    guard json["v"]?.integer == 1 else {
      throw Self.refusal("version \(json["v"]?.compact() ?? "unknown")", "version 1; update the app")
    }
    guard json["design"]?.text == "abba" else {
      throw Self.refusal("design \(json["design"]?.compact() ?? "unknown")", "design abba")
    }
  }

  func prompt() throws(DataProblem) -> Prompt {
    Prompt(
      id: try text("id"), promptClass: try text("prompt_class"), text: try text("text"), system: json["system"]?.text)
  }

  func pair() throws(DataProblem) -> Pair {
    guard let first = Arm(rawValue: try text("first")) else {
      throw Self.refusal("first is neither arm", "spec_off or spec_on")
    }
    let ids = try list("prompts").compactMap(\.text)
    return Pair(index: try whole("pair"), first: first, prompts: ids)
  }

  func lengths() throws(DataProblem) -> PlanLengths {
    var lengths = PlanLengths()
    lengths.warmups = try whole("warmups")
    lengths.blockS = try whole("block_s")
    lengths.baselineS = try whole("baseline_s")
    lengths.cooldownS = try whole("cooldown_s")
    lengths.maxOutputTokens = try whole("max_output_tokens")
    return lengths
  }

  func sampler() throws(DataProblem) -> Sampler {
    let part = try PlanReader(json: member("sampler"))
    var sampler = Sampler()
    sampler.temperature = try part.number("temperature")
    sampler.topK = try part.whole("top_k")
    sampler.topP = try part.number("top_p")
    sampler.seed = try part.whole("seed")
    return sampler
  }

  func gate() throws(DataProblem) -> GateRule {
    let part = try PlanReader(json: member("gate"))
    var gate = GateRule()
    gate.maxThermal = try part.whole("max_thermal")
    gate.minBatteryLevel = try part.number("min_battery_level")
    gate.unplugged = try part.truth("unplugged")
    gate.lowPowerOff = try part.truth("low_power_off")
    gate.maxWaitS = try part.whole("max_wait_s")
    return gate
  }

  func text(_ key: String) throws(DataProblem) -> String { try have(json[key]?.text, key, "a text") }

  func list(_ key: String) throws(DataProblem) -> [JSON] { try have(json[key]?.list, key, "a list") }

  func whole(_ key: String) throws(DataProblem) -> Int {
    let value = try have(json[key]?.integer, key, "a whole number")
    guard (0..<(1 << 53)).contains(value) else {
      throw Self.refusal("\(key) is \(value)", "0 or more, below 2^53")
    }
    return Int(value)
  }

  private func member(_ key: String) throws(DataProblem) -> JSON { try have(json[key], key, "an object") }
  private func number(_ key: String) throws(DataProblem) -> Double { try have(json[key]?.number, key, "a number") }
  private func truth(_ key: String) throws(DataProblem) -> Bool { try have(json[key]?.bool, key, "true or false") }

  private func have<Value>(_ value: Value?, _ key: String, _ needed: String) throws(DataProblem) -> Value {
    guard let value else {
      throw Self.refusal("\(key) is \(json[key]?.compact() ?? "missing")", needed)
    }
    return value
  }
}
