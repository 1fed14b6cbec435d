import Foundation
import Testing

@testable import EdgeMTPKit

struct TroubleTests {
  private func played(_ plan: Plan, _ change: (inout SimulatedPhone) -> Void) -> SimulatedPhone {
    var phone = SimulatedPhone(plan)
    change(&phone)
    phone.play()
    return phone
  }

  /// When the first counted trial of a plain run of this plan is being written.
  private func middleOfFirstTrial(_ plan: Plan) -> Int64 {
    let phone = played(plan) { _ in }
    let start = phone.trials.first?["start_t_ms"]?.integer ?? 0
    return start + 700
  }

  @Test func backgroundVoidsTheTrialAndTheRunWaits() throws {
    let plan = Plan.example(pairs: 1)
    let away = middleOfFirstTrial(plan)
    let phone = played(plan) { $0.schedule = [(away, .background), (away + 60_000, .foreground)] }
    let first = try #require(phone.trials.first)
    #expect(phone.reasons(first) == ["cancelled", "background"])
    #expect(first["finish_reason"]?.text == "cancelled")
    #expect(phone.trials.count == 2 && phone.trials[1]["valid"]?.bool == true)
    #expect(try #require(phone.trials[1]["start_t_ms"]?.integer) >= away + 60_000)
    #expect(phone.events("background").count == 1 && phone.events("foreground").count == 1)
    #expect(phone.of(.sample).contains { $0["phase"]?.text == "idle" })
  }

  @Test func silentNoDraftIsSeenByItsPieces() {
    let phone = played(.example()) {
      $0.piecesWhenDrafting = 60
      $0.rate = nil
    }
    let on = phone.trials.filter { $0["arm"]?.text == "spec_on" }
    let off = phone.trials.filter { $0["arm"]?.text == "spec_off" }
    #expect(on.allSatisfy { phone.reasons($0) == ["not_drafting"] })
    #expect(off.allSatisfy { $0["valid"]?.bool == true })
    #expect(
      phone.of(.engine).filter { $0["speculative"]?.bool == true }.allSatisfy { $0["drafting"]?.text == "inactive" })
  }

  @Test func anEngineThatRefusesDraftingFallsBackAndSaysSo() {
    let phone = played(.example()) { $0.refusesDrafting = "TF_LITE_MTP_DRAFTER not found" }
    #expect(phone.problem == nil)
    #expect(phone.events("fallback").compactMap { $0["value"]?.text } == ["TF_LITE_MTP_DRAFTER not found"])
    let on = phone.trials.filter { $0["arm"]?.text == "spec_on" }
    #expect(on.count == 2 && on.allSatisfy { phone.reasons($0) == ["not_drafting", "fallback"] })
    #expect(phone.trials.filter { $0["arm"]?.text == "spec_off" }.allSatisfy { $0["valid"]?.bool == true })
    #expect(phone.machine.progress.fallback == "TF_LITE_MTP_DRAFTER not found")
    #expect(
      phone.of(.engine).map { $0["drafting"]?.text } == ["off", "inactive"], "one engine for both arms from there")
  }

  @Test func anEngineThatDoesNotStartEndsTheRunWithItsWords() {
    let phone = played(.example()) { $0.refusesAll = "not enough memory" }
    #expect(phone.problem == "not enough memory")
    #expect(phone.events("error").compactMap { $0["value"]?.text } == ["not enough memory"])
    #expect(phone.of(.end).map { $0["reason"]?.text } == ["error"])
    #expect(phone.trials.isEmpty)
  }

  @Test func stopEndsTheTrialTheEngineAndTheLog() {
    let plan = Plan.example()
    let when = middleOfFirstTrial(plan)
    let phone = played(plan) { $0.schedule = [(when, .stop), (when + 1, .stop)] }
    #expect(phone.trials.count == 1 && phone.reasons(phone.trials[0]) == ["cancelled"])
    #expect(phone.events("cancel").count == 1)
    #expect(phone.of(.end).map { $0["reason"]?.text } == ["stopped"])
    #expect(phone.records.dropLast().last?.kind == .engine)
    #expect(phone.problem == nil)
  }

  @Test(arguments: [500, 1000, 100_000] as [Int64]) func stopIsTakenWhileLoadingOrWaiting(_ when: Int64) {
    let plan = Plan.example { lengths, _ in
      lengths.warmups = 0
      lengths.baselineS = when == 100_000 ? 200 : 0
    }
    let phone = played(plan) { $0.schedule = [(when, .stop)] }
    #expect(phone.isOver && phone.trials.isEmpty)
    #expect(phone.of(.end).map { $0["reason"]?.text } == ["stopped"])
  }

  @Test func memoryWarningsAreWrittenDown() {
    let phone = played(.example()) { $0.schedule = [(5000, .memoryWarning)] }
    #expect(phone.events("memory_warning").count == 1)
    #expect(phone.of(.end).map { $0["reason"]?.text } == ["finished"])
  }

  @Test func oneFailedTrialIsOneTrialAndThreeEndTheRun() {
    let plan = Plan.example { lengths, _ in lengths.warmups = 0 }
    let one = played(plan) { $0.failure = { $0 == 1 ? "INTERNAL: broken" : nil } }
    #expect(one.trials.map(one.reasons) == [[], ["error"], [], []])
    #expect(one.trials[1]["error"]?.text == "INTERNAL: broken")
    #expect(one.of(.end).map { $0["reason"]?.text } == ["finished"])
    let three = played(plan) { $0.failure = { _ in "INTERNAL: broken" } }
    #expect(three.trials.count == 3 && three.problem == "three trials in a row failed: INTERNAL: broken")
    #expect(three.of(.end).map { $0["reason"]?.text } == ["error"])
  }

  @Test func otherTextsAreToldFromEqualOnes() {
    let phone = played(.example()) { $0.text = { _, drafting in drafting ? "7" : "1" } }
    #expect(phone.trials.compactMap { $0["output_equals_pair"]?.bool } == [false, false])
    #expect(phone.machine.progress.comparedTexts == 2 && phone.machine.progress.equalTexts == 0)
    let longer = played(.example()) { $0.text = { _, drafting in drafting ? "one two" : "one" } }
    #expect(
      longer.trials.compactMap { $0["output_equals_pair"]?.bool } == [true, true],
      "a reply cut by its budget may go on with drafting")
  }

  @Test func aCutTextIsOnlyTheSameWhereTheBudgetCutIt() {
    var short = Generation()
    short.text = "one"
    var long = Generation()
    long.text = "one two"
    #expect(!WrittenText(short).equals(WrittenText(long)))
    short.finishReason = .length
    #expect(WrittenText(short).equals(WrittenText(long)) && WrittenText(long).equals(WrittenText(short)))
    long.text = "two one"
    #expect(!WrittenText(short).equals(WrittenText(long)))
  }

  @Test func aKilledRunIsMarkedOnTheNextStart() throws {
    let folder = try makeFolder()
    var phone = SimulatedPhone(.example())
    phone.play(limitMs: 9000)
    #expect(!phone.isOver)
    let log = try LogFile(directory: folder)
    for record in phone.records { try log.append(record) }
    log.close()
    let cut = try Data(contentsOf: log.url).dropLast(20)
    try cut.write(to: log.url)
    #expect(LogRecovery.mark(directory: folder) == [log.url.lastPathComponent])
    let contents = try LogContents(data: Data(contentsOf: log.url))
    #expect(contents.badLines.count == 1 && contents.lines.last?.json["name"]?.text == "interrupted")
    #expect(contents.lines.last?.seq == Int64(phone.records.count - 1))
    #expect(!contents.isInterrupted)
  }
}
