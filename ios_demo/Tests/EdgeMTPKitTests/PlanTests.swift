import Foundation
import Testing

@testable import EdgeMTPKit

struct PlanTests {
  @Test func splitMixDrawsAsInTheGoldenFile() throws {
    for one in try #require(GoldenFiles.json("splitmix64.json").list) {
      let seed = UInt64(try #require(one["seed"]?.integer))
      var draws = SplitMix64(seed: seed)
      let outputs = one["outputs"]?.list?.compactMap(\.text).compactMap { UInt64($0) } ?? []
      #expect(outputs.count == 5)
      #expect(outputs == outputs.map { _ in draws.next() })
      for below in one["below"]?.list ?? [] {
        var draws = SplitMix64(seed: seed)
        let bound = Int(try #require(below["bound"]?.integer))
        let values = below["values"]?.list?.compactMap(\.integer) ?? []
        #expect(values == values.map { _ in Int64(draws.below(bound)) })
      }
    }
  }

  @Test func theFirstDrawOfTheDocument() {
    var draws = SplitMix64(seed: 1_234_567)
    #expect(draws.next() == 6_457_827_717_110_365_317)
  }

  @Test(arguments: ["plan-abba.json", "plan-sustained.json"]) func aSeedGivesTheGoldenPlan(_ name: String) throws {
    let golden = try Plan(data: GoldenFiles.data(name))
    #expect(golden.prompts.count == 6 && golden.pairs.count >= 2)
    let made = Plan.abba(
      prompts: golden.prompts, promptSet: golden.promptSet, pairCount: golden.pairs.count, seed: golden.seed,
      lengths: golden.lengths, sampler: golden.sampler, gate: golden.gate)
    #expect(made == golden)
    let file = try GoldenFiles.json(name)
    #expect(made.json == file)
    let other = Plan.abba(
      prompts: golden.prompts, promptSet: golden.promptSet, pairCount: golden.pairs.count, seed: golden.seed + 1,
      lengths: golden.lengths, sampler: golden.sampler, gate: golden.gate)
    #expect(other.pairs != golden.pairs)
  }

  @Test func theLogNamesThePlanWithoutItsPrompts() throws {
    let plan = try Plan(data: GoldenFiles.data("plan-abba.json"))
    let fields = JSON.object(plan.logFields)
    #expect(fields["pair_count"] == .whole(plan.pairs.count))
    #expect(fields["prompts"] == nil && fields["pairs"] == nil && fields["v"] == nil)
    #expect(fields["prompt_set_sha256"]?.text == plan.promptSetSHA256)
  }

  @Test(arguments: [
    ("\"format\"", "\"fermat\"", "not a plan"), ("\"v\": 1", "\"v\": 2", "version 2"),
    ("\"abba\"", "\"aabb\"", "design"), ("Why is the sky blue?", "Why is the sky red?", "prompt_set_sha256"),
    ("\"first\": \"spec_off\"", "\"first\": \"off\"", "spec_off or spec_on"),
    ("\"seed\": 1234567", "\"seed\": -1", "seed"),
    ("\"block_s\": 0", "\"block_s\": \"none\"", "block_s"), ("\"id\": \"chat-1\"", "\"id\": \"chat-2\"", "share an id"),
    ("\"unplugged\": true", "\"unplugged\": 1", "unplugged"), ("\"top_k\": 1", "\"top_q\": 1", "top_k"),
    ("\"id\": \"chat-1\"", "\"id\": \"chat-9\"", "chat-1"),
  ]) func aSpoiltPlanIsRefusedByName(_ old: String, _ new: String, _ word: String) throws {
    let text = try #require(String(data: GoldenFiles.data("plan-abba.json"), encoding: .utf8))
    #expect(text.contains(old))
    let spoilt = Data(text.replacingOccurrences(of: old, with: new).utf8)
    #expect {
      try Plan(data: spoilt)
    } throws: {
      "\($0)".contains(word)
    }
  }
}
