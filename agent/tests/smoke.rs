#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]
use andromede_testkit::{Fabric, FabricOptions};

#[test]
fn smoke() {
    let fabric = Fabric::start(FabricOptions { hosts: 3, ..FabricOptions::default() }).unwrap();
    let bundle = std::fs::read_to_string("../examples/two-tenants.yaml").unwrap();
    fabric.control().apply(&bundle).map_err(|e| format!("{e:#}\n{}", fabric.logs())).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(2));
    println!("{}", fabric.logs());
    let ports: Vec<&str> =
        vec!["tenants/mairie/networks/intranet/ports/desk", "tenants/mairie/networks/intranet/ports/web"];
    let w1 = fabric.attach(1, ports[0]);
    println!("{:?}", w1.as_ref().map(|_| ()));
    let w2 = fabric.attach(2, ports[1]);
    println!("{:?}", w2.as_ref().map(|_| ()));
    for a in fabric.agents() {
        println!("{:#}", a.status(fabric.control()).unwrap());
        println!("{}", String::from_utf8_lossy(&a.namespace().exec("ip -d link").unwrap().stdout));
    }
    if let (Ok(w1), Ok(_w2)) = (w1, w2) {
        println!(
            "{:?}",
            w1.namespace()
                .exec("ping -c 3 -i 0.2 -W 1 10.0.0.20")
                .map(|o| String::from_utf8_lossy(&o.stdout).to_string())
        );
        println!("{}", String::from_utf8_lossy(&w1.namespace().exec("ip addr").unwrap().stdout));
    }
    println!("{}", fabric.logs());
}
