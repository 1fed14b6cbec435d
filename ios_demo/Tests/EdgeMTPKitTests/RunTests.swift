import Foundation
import Testing

@testable import EdgeMTPKit

extension BundleFacts {
  static var example: BundleFacts {
    BundleFacts(
      file: "example.litertlm", bytes: 1_000_000_000, sha256: String(repeating: "a", count: 64), hasDrafter: true,
      draftSteps: 3, manifestSHA256: nil)
  }
}

struct RunTests {
  private func played(_ plan: Plan, _ change: (inout SimulatedPhone) -> Void = { _ in }) -> SimulatedPhone {
    var phone = SimulatedPhone(plan)
    change(&phone)
    phone.play()
    return phone
  }

  @Test func aPlainRunSaysEverythingInOrder() throws {
    let phone = played(.example())
    #expect(phone.isOver && phone.problem == nil)
    #expect(phone.records.first?.kind == .run && phone.records.last?.kind == .end)
    #expect(zip(phone.records, phone.records.dropFirst()).allSatisfy { $0.tMs <= $1.tMs })
    let arms = phone.trials.compactMap { $0["arm"]?.text }
    #expect(arms == ["spec_off", "spec_on", "spec_on", "spec_off"])
    #expect(phone.trials.allSatisfy { $0["valid"]?.bool == true && phone.reasons($0).isEmpty })
    #expect(phone.trials.compactMap { $0["output_equals_pair"]?.bool } == [true, true])
    #expect(phone.events("pair").compactMap { $0["value"]?.compact() } == [#"{"pair":0}"#, #"{"pair":1}"#])
    let blocks = phone.events("block").compactMap { $0["value"] }
    #expect(blocks.map { $0["pair"]?.integer } == [0, 0, 1, 1] && blocks.map { $0["order"]?.integer } == [0, 1, 0, 1])
    #expect(blocks.map { $0["arm"]?.text } == arms)
    #expect(phone.of(.run)[0]["plan"]?["pair_count"] == .whole(2))
  }

  @Test func nothingComesBehindTheEnd() {
    var phone = played(.example(pairs: 1))
    for input in [RunInput.tick, .background, .memoryWarning, .stop, .loaded(loadMs: 1)] {
      #expect(phone.machine.handle(input, at: phone.nowMs + 1000, reading: .fit).isEmpty)
    }
  }

  @Test func everyEngineWarmsUpAndIsLogged() {
    let phone = played(.example())
    let engines = phone.of(.engine)
    // Warm-ups load off and on; then off | on, on | off: the arm changes three times after that.
    #expect(engines.map { $0["speculative"]?.bool } == [false, true, false, true, false])
    #expect(engines.map { $0["drafting"]?.text } == ["off", "active", "off", "active", "off"])
    #expect(engines[1]["acceptance_rate"]?.number == 0.5 && engines[1]["acceptance_source"]?.text == "runtime_log")
    #expect(engines[0]["acceptance_rate"] == nil && engines[0]["acceptance_source"]?.text == "none")
    let warmups = phone.of(.trial).filter { $0["warmup"]?.bool == true }
    #expect(warmups.count == 5, "two of the plan, and one after each later load")
    #expect(warmups.allSatisfy { $0["pair"] == nil && $0["repeat"] == nil })
    #expect(warmups.allSatisfy { $0["gate_passed"] == nil && $0["gate_wait_ms"] == nil })
    let listed = engines.flatMap { $0["trials"]?.list?.compactMap(\.integer) ?? [] }
    #expect(listed == Array(0..<Int64(phone.of(.trial).count)))
  }

  @Test func theSummaryIsTheRatioOfThePairs() throws {
    let phone = played(.example(pairs: 4))
    let summary = try #require(phone.of(.end).first?["summary"])
    #expect(phone.of(.end)[0]["reason"]?.text == "finished")
    #expect(summary["spec_off"]?["trials"] == .whole(4) && summary["spec_on"]?["trials"] == .whole(4))
    let speedUp = try #require(summary["speed_up"]?["value"]?.number)
    #expect(abs(speedUp - 2500 / 1500) < 1e-9)
    #expect(summary["speed_up"]?["pairs"] == .whole(4))
    #expect(try #require(summary["speed_up"]?["low"]?.number) <= speedUp + 1e-9)
    #expect(summary["acceptance_rate"]?.number == 0.5 && summary["energy_source"]?.text == "none")
  }

  @Test func samplesComeEverySecondWithTheirPhase() {
    let plan = Plan.example { lengths, _ in
      lengths.baselineS = 5
      lengths.cooldownS = 4
    }
    let phone = played(plan)
    let samples = phone.of(.sample)
    let times = phone.records.filter { $0.kind == .sample }.map(\.tMs)
    #expect(times == times.indices.map { Int64($0 + 1) * 1000 })
    let phases = Dictionary(grouping: samples) { $0["phase"]?.text ?? "" }.mapValues(\.count)
    #expect((15...18).contains(phases["baseline"] ?? 0), "neighbouring pairs share theirs")
    #expect(phases["cooldown"] ?? 0 >= 16)
    #expect((phases["load"] ?? 0) > 0 && (phases["decode"] ?? 0) > 0 && (phases["prefill"] ?? 0) > 0)
    #expect(samples.allSatisfy { ($0["trial"] != nil) == ["prefill", "decode"].contains($0["phase"]?.text) })
  }

  @Test func aSustainedBlockThrottlesAndStillCounts() throws {
    let plan = Plan.example(pairs: 1) { lengths, _ in lengths.blockS = 300 }
    let phone = played(plan) {
      $0.reading = { ms in
        DeviceReading.fit.with { $0.thermal = (60_000..<320_000).contains(ms) ? 2 : 0 }
      }
      $0.replyMs = { drafting, ms in (drafting ? 2000 : 3000) + (ms > 60_000 ? 1500 : 0) }
    }
    let first = phone.trials.filter { $0["order"] == .whole(0) }
    #expect(first.count > 50)
    #expect(first.map { $0["repeat"]?.integer } == first.indices.map { Int64($0) })
    #expect(Set(first.compactMap { $0["prompt"]?.text }) == ["a", "b", "c"])
    #expect(first.contains { $0["non_nominal_fraction"]?.number == 1 && $0["valid"]?.bool == true })
    #expect(phone.events("thermal_change").compactMap { $0["value"]?.integer } == [2, 0])
    let gated = try #require(phone.trials.first { $0["order"] == .whole(1) })
    #expect(gated["gate_passed"]?.bool == true)
    #expect(try #require(gated["gate_wait_ms"]?.integer) > 0, "the second block waits until the phone is cool")
  }

  @Test func aHotPhoneVoidsShortTrialsAndTheGateTimesOut() {
    let plan = Plan.example(pairs: 1) { _, gate in gate.maxWaitS = 30 }
    let phone = played(plan) { $0.reading = { _ in DeviceReading.fit.with { $0.thermal = 1 } } }
    #expect(phone.trials.count == 2)
    for trial in phone.trials {
      #expect(phone.reasons(trial) == ["thermal", "gate_timeout"])
      let waited = trial["gate_wait_ms"]?.integer ?? 0
      #expect(
        trial["gate_passed"]?.bool == false && (30_000..<31_000).contains(waited), "the gate is looked at every second")
    }
    #expect(phone.of(.end)[0]["summary"]?["speed_up"] == nil)
  }

  @Test func chargerLowPowerAndAnEmptyBatteryAreReasonsInOrder() {
    let plan = Plan.example(pairs: 1) { _, gate in gate.maxWaitS = 1 }
    let phone = played(plan) {
      $0.reading = { _ in
        DeviceReading.fit.with {
          $0.charging = true
          $0.lowPowerMode = true
          $0.batteryLevel = 0.1
        }
      }
    }
    #expect(
      phone.trials.map(phone.reasons).allSatisfy { $0 == ["charging", "low_power", "battery_low", "gate_timeout"] })
  }

  @Test func aPhoneThatTellsNothingIsNotHot() {
    let phone = played(.example(pairs: 1)) { $0.reading = { _ in DeviceReading() } }
    #expect(phone.trials.count == 2 && phone.trials.allSatisfy { $0["valid"]?.bool == true })
    #expect(phone.trials.allSatisfy { $0["non_nominal_fraction"] == nil && $0["battery_level_start"] == nil })
    #expect(phone.of(.sample).allSatisfy { $0["thermal"] == nil && $0["battery_level"] == nil })
  }

  @Test func threeStepsOfTheBatteryAreASourceOfEnergy() {
    let plan = Plan.example(pairs: 1) { lengths, _ in lengths.blockS = 300 }
    let phone = played(plan) {
      $0.reading = { ms in DeviceReading.fit.with { $0.batteryLevel = 0.8 - 0.05 * Double(ms / 120_000) } }
    }
    #expect(phone.events("battery_step").count >= 3)
    #expect(phone.of(.end)[0]["summary"]?["energy_source"]?.text == "battery_steps")
  }

  @Test func changesAreEventsAtTheirMoment() {
    let phone = played(.example()) {
      $0.reading = { ms in
        DeviceReading.fit.with {
          $0.batteryLevel = ms < 8000 ? 0.8 : 0.75
          $0.charging = ms >= 9000
          $0.lowPowerMode = ms >= 10_000
        }
      }
    }
    let step = phone.records.first { $0.fields["name"]?.text == "battery_step" }
    #expect(step?.tMs == 8000 && step?.fields["value"]?.number == 0.75)
    #expect(phone.of(.end)[0]["summary"]?["energy_source"]?.text == "none", "one step is no rate")
    #expect(phone.events("charging_change").count == 1 && phone.events("low_power_change").count == 1)
  }
}
