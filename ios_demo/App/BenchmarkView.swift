import EdgeMTPKit
import Foundation
import SwiftUI

/// Unattended runs and their logs.
struct BenchmarkView: View {
  @Bindable var model: AppModel
  @Bindable var benchmark: BenchmarkModel

  var body: some View {
    NavigationStack {
      Form {
        plan
        surroundings
        if let progress = benchmark.progress { ProgressSection(progress: progress) }
        Section("Logs") {
          ForEach(model.logs, id: \.self) { url in ShareLink(url.lastPathComponent, item: url) }
        }
      }
      .navigationTitle("Benchmark")
      .advice($benchmark.advice)
    }
  }

  private var plan: some View {
    Section("Plan") {
      Text("\(model.plan.promptSet): \(model.plan.pairs.count) pairs, blocks of \(model.plan.lengths.blockS) s")
      ForEach(model.plans, id: \.self) { url in
        Button(url.lastPathComponent) { model.choose(plan: url) }
      }
      if benchmark.isRunning {
        Button("Stop") { benchmark.post(.stop) }
      } else {
        Button("Run") { Task { await model.runBenchmark() } }
      }
    }
  }

  private var surroundings: some View {
    Section("Surroundings, for the log") {
      TextField("Room temperature, °C", value: $model.setting.ambientC, format: .number)
      TextField("Screen brightness, 0 to 1", value: $model.setting.brightness, format: .number)
      Toggle("Airplane mode is on", isOn: $model.setting.airplaneIsOn)
      TextField("Note", text: $model.setting.noteText)
    }
  }
}

/// How far a run is.
struct ProgressSection: View {
  let progress: RunProgress

  var body: some View {
    Section("Run") {
      ProgressView(value: Double(progress.blocksBegun), total: Double(max(progress.blocks, 1)))
      Text(progress.activity)
      Text("\(progress.trials) trials, \(progress.invalidTrials) that do not count")
      Text("MTP off \(rate(progress.decodeTpsOff)), on \(rate(progress.decodeTpsOn)) tok/s")
      Text("\(progress.equalTexts) of \(progress.comparedTexts) texts equal with MTP off and on")
      if let words = progress.fallback { Text("No drafting: \(words)").foregroundStyle(Color.red) }
    }
  }

  private func rate(_ value: Double?) -> String { value.map { Shown.number($0, digits: 1) } ?? "–" }
}
