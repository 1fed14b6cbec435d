import EdgeMTPKit
import Foundation
import LiteRTRuntime
import SwiftUI
import UIKit

/// Chat with MTP on and off, and the benchmark.
@main
struct EdgeMTPApp: App {
  @State private var start = Start.make()
  @Environment(\.scenePhase) private var scenePhase

  var body: some Scene {
    WindowGroup {
      switch start {
      case .ready(let model): MainView(model: model)
      case .failed(let words): Text(words).padding()
      }
    }
    .onChange(of: scenePhase) { _, phase in
      guard case .ready(let model) = start else { return }
      switch phase {
      case .background: model.benchmark.post(.background)
      case .active: model.benchmark.post(.foreground)
      default: break
      }
    }
  }
}

/// What the app starts with.
@MainActor
private enum Start {
  case ready(AppModel)
  case failed(String)

  static func make() -> Start {
    UIDevice.current.isBatteryMonitoringEnabled = true
    let folders = FileManager.default
    guard let documents = folders.urls(for: .documentDirectory, in: .userDomainMask).first,
      let caches = folders.urls(for: .cachesDirectory, in: .userDomainMask).first
    else { return .failed("iOS gives this app no folders.") }
    do {
      let library = try Library(documents: documents, caches: caches)
      let model = AppModel(library: library, device: Phone.facts(), runner: LiteRTEngine(), probe: PhoneProbe())
      return .ready(model)
    } catch {
      return .failed("\(error)")
    }
  }
}

/// Three tabs over one model.
struct MainView: View {
  @Bindable var model: AppModel

  var body: some View {
    TabView {
      FilesView(model: model).tabItem { Label("Bundle", systemImage: "shippingbox") }
      ChatView(model: model, chat: model.chat).tabItem { Label("Chat", systemImage: "bubble.left") }
      BenchmarkView(model: model, benchmark: model.benchmark)
        .tabItem { Label("Benchmark", systemImage: "gauge") }
    }
    .advice($model.advice)
    .onReceive(NotificationCenter.default.publisher(for: UIApplication.didReceiveMemoryWarningNotification)) { _ in
      model.benchmark.post(.memoryWarning)
    }
    .onChange(of: model.benchmark.isRunning) { _, running in
      // A phone that dims and locks throws the app into the background in the middle of a trial.
      UIApplication.shared.isIdleTimerDisabled = running
    }
  }
}

extension View {
  /// Shows a message until the user has read it.
  @MainActor
  func advice(_ advice: Binding<Advice?>) -> some View {
    let isShown = Binding(get: { advice.wrappedValue != nil }, set: { if !$0 { advice.wrappedValue = nil } })
    return alert(advice.wrappedValue?.title ?? "", isPresented: isShown) {
      Button("OK") { advice.wrappedValue = nil }
    } message: {
      Text(advice.wrappedValue?.text ?? "")
    }
  }
}
