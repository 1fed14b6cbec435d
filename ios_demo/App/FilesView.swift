import EdgeMTPKit
import Foundation
import SwiftUI
import UniformTypeIdentifiers

/// Import, the choice of a bundle, and how engines are started.
struct FilesView: View {
  @Bindable var model: AppModel
  @State private var isImporting = false

  var body: some View {
    NavigationStack {
      Form {
        bundles
        engine
        if !model.interrupted.isEmpty {
          Section("Interrupted runs") {
            Text("Marked in their logs: \(model.interrupted.joined(separator: ", "))")
          }
        }
      }
      .navigationTitle("edge_mtp")
      .fileImporter(isPresented: $isImporting, allowedContentTypes: [.data, .json]) { result in
        if case .success(let url) = result { take(url) }
      }
    }
  }

  private var bundles: some View {
    Section("Bundle") {
      ForEach(model.bundles, id: \.self) { url in
        Button(url.lastPathComponent) { Task { await model.choose(bundle: url) } }
      }
      if let part = model.hashing { ProgressView("Hashing", value: part) }
      if let bundle = model.bundle {
        Text("\(bundle.file), \(Sizes.text(bundle.bytes)), \(bundle.hasDrafter ? "with" : "without") drafter")
      }
      Button("Import a bundle or a plan") { isImporting = true }
      Button("Look again") { model.refresh() }
    }
  }

  private var engine: some View {
    Section("Engine") {
      Toggle("GPU (Metal)", isOn: $model.choices.usesGPU)
      Toggle("fp16 activations (may change digits)", isOn: $model.choices.usesFP16)
      Stepper("Threads: \(model.choices.threads)", value: $model.choices.threads, in: 1...8)
      Stepper(
        "Context: \(model.choices.maxContextTokens)", value: $model.choices.maxContextTokens, in: 512...8192, step: 512)
      Button("Check digits") { Task { await model.checkDigits() } }
    }
  }

  private func take(_ url: URL) {
    Task {
      let isScoped = url.startAccessingSecurityScopedResource()
      await model.take(url)
      if isScoped { url.stopAccessingSecurityScopedResource() }
    }
  }
}
