// flytewheel: what people say of an answer, and what they do with it (docs/feedback.md). No cookie, nothing else is loaded.
(d => {
  const to = new URL('feedback', d.currentScript.src), K = 'flytewheel', views = new Map
  const store = f => { try { return f(localStorage, sessionStorage) } catch { } }
  const queue = store(l => JSON.parse(l[K])) || {}, began = store((l, s) => s[K] ||= Date.now()) || Date.now()
  const id = () => Date.now().toString(36) + Math.random().toString(36).slice(2)
  const put = (k, v) => { if (v) queue[k] = v; else delete queue[k]; store(l => l[K] = JSON.stringify(queue)) }
  const first = () => Object.entries(queue).slice(0, 50)
  const write = sent => JSON.stringify({events: sent.map(e => e[1])})
  const all = f => views.forEach(f)
  let busy
  const send = async () => {
    const sent = first()
    if (busy || !sent[0]) return
    busy = 1
    const code = await fetch(to, {method: 'POST', body: write(sent)}).then(r => r.status, () => 503)
    busy = 0
    if (code < 500 && code != 429) sent.map(([k, v]) => queue[k] == v && put(k))
  }
  const watch = (el, o = {}) => {
    o = {...el.dataset, ...o}
    const text = el.textContent, t0 = performance.now(), seen = [], view = id()
    const who = {interaction_id: o.flytewheel, receipt: o.receipt}
    const about = {
      ...who, session_ms: Date.now() - began, characters: text.length, question: o.question,
      wide: text.replace(/[^\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]/g, '').length, language: el.closest('[lang]')?.lang
    }
    let on = true, near = on, deep
    const see = (e, more) => {
      if (seen.length > 199) return
      seen.push({n: seen.length, t: performance.now() - t0 | 0, e, ...more})
      put(view, {...about, observed: [...seen]})
    }
    const say = (feedback_type, more) => {
      see('rated')
      const event_id = id()
      put(event_id, {...who, event_id, timestamp: new Date, feedback_type, ...more})
      return send()
    }
    const depth = e => {
      const r = el.getBoundingClientRect(), now = Math.max(0, Math.min(1, (innerHeight - r.top) / (r.height || 1)))
      if (!(now < deep + .1) || now == 1 > deep) see(e, {depth: deep = now})
    }
    const h = {
      say, see,
      look: () => { if (on != (near && !d.hidden)) see((on = !on) ? 'visible' : 'hidden') },
      scroll: () => depth('scroll'),
      followUp: text => { see('follow_up', {text}); return send() },
      stop: () => { see('left'); views.delete(el); return send() }
    }
    views.set(el, h)
    depth('shown')
    new IntersectionObserver(a => { near = a.at(-1).isIntersecting; h.look() }).observe(el)
    return h
  }
  const scan = () => {
    d.querySelectorAll('[data-flytewheel]').forEach(el => views.has(el) || watch(el))
    all((h, el) => el.isConnected || h.stop())
  }
  const leave = () => first()[0] && navigator.sendBeacon(to, write(first()))
  const on = (e, f) => addEventListener(e, f, true)
  on('copy', () => all((h, el) => el.contains(getSelection().anchorNode) && h.see('copy')))
  on('click', ({target}) => {
    const at = target.closest('a,[data-say]'), say = at?.dataset.say
    const h = views.get(at?.closest('[data-flytewheel]') || d.getElementById(at?.dataset.of))
    if (h) say == 'accepted' || !say ? h.see(say || 'citation') : say > 0 ? h.say('rating', {rating: +say}) : h.say(say)
  })
  on('scroll', () => all(h => h.scroll()))
  on('visibilitychange', () => { all(h => h.look()); d.hidden && leave() })
  on('pagehide', e => { e.persisted || all(h => h.see('left')); leave() })
  on('online', send)
  new MutationObserver(scan).observe(d, {childList: true, subtree: true})
  scan()
  send()
  setInterval(send, 1e4)
  window.flytewheel = {watch, send}
})(document)
